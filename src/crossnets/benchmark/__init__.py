"""Cost of predictions: time, memory, and the share of the processor's peak performance."""
