"""All networks: those of the paper, our estimator (dense.py), the detector, and networks of the user (own.py)."""
