"""Readers and writers of data sets and recordings, lazy and honest about what is broken; rendered hands without end."""
