"""Adapters between the reference numbers and kdlib, one module per room."""
