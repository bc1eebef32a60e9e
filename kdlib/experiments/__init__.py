"""One experiment and grids of them: the configuration of a run, its fingerprint, its row."""
