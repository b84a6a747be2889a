"""Costs of a prediction: time, memory, and the share of the processor's peak that it reaches."""
