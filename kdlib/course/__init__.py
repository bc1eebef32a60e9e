"""The lessons: notebooks, how they are run, and the site."""
