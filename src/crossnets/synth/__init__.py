"""Rendered depth images: a procedural hand, its surroundings, an exact depth camera and the noise of real sensors."""
