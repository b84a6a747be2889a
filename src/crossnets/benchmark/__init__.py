"""What a prediction costs: time, memory, and how near it comes to what the processor can do."""
