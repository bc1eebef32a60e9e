"""Paths, named seeds, devices and error messages that several packages share."""
