"""Colours of the fingers in overlays, charts and the live page."""

COLOURS = {
    "palm": (0.65, 0.65, 0.65),
    "thumb": (0.90, 0.29, 0.24),
    "index": (0.95, 0.61, 0.07),
    "middle": (0.18, 0.70, 0.35),
    "ring": (0.16, 0.50, 0.87),
    "little": (0.60, 0.31, 0.78),
}
"""RGB, 0 to 1, of the bones of each part."""
