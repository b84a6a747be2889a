"""Cameras, crops, skeletons and the hand localiser: numpy and OpenCV, no torch."""
