"""Datasets as tensors in memory, label noise and imbalance, augmentation as an enumerable set of views."""
