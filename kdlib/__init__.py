"""kdlib: knowledge distillation on pruned data, as a course and as a reproduction."""

__version__ = "0.1.0"
