"""Hand pose from one depth image, in millimetres."""

from importlib.metadata import version

from crossnets.types import HandFrame, Pinhole

__version__ = version("crossnets")
__all__ = ["HandFrame", "Pinhole", "__version__"]
