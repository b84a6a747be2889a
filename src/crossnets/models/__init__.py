"""All networks: the paper's, our estimator (dense.py) and the detector; and what predicts with them."""
