"""Training: stages, schedule, the loop, checkpoints and the run folder."""
