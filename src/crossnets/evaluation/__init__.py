"""Predict to a file, then score the file."""
