"""From rows to conclusions: statistics, claims and plots."""
