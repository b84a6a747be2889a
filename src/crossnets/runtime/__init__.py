"""Prediction without torch: trackers, engines, cameras, recordings. A run that was not exported needs torch."""
