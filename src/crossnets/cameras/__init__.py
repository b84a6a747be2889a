"""Depth frames from cameras, recordings and a rendered hand, one interface: `open_source`."""

from crossnets.cameras.frames import DepthFrame, DepthSource, SourceError
from crossnets.cameras.opening import SOURCES, open_source

__all__ = ["SOURCES", "DepthFrame", "DepthSource", "SourceError", "open_source"]
