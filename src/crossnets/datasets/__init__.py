"""Readers and writers of data sets and recordings. They are lazy and report everything that is broken."""
