"""Readers and writers of data sets and recordings. Readers open images lazily and report every broken file or label."""
