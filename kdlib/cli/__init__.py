"""What `python -m kdlib` understands."""
