"""Readers of the published data sets and of our own recordings: lazy, honest about what is broken."""
