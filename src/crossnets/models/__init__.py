"""The networks of the paper, and what predicts with them."""
