"""Hand pose from one depth image, in millimetres: `crossnets.load().predict(depth_mm, camera)`."""

from importlib.metadata import version

from crossnets.cameras import DepthFrame
from crossnets.cameras import open_source as open
from crossnets.inference.hand import Hand
from crossnets.inference.loading import load
from crossnets.inference.predict import predict
from crossnets.inference.tracker import Tracker
from crossnets.types import HandFrame, Lens, LensCamera, Pinhole

__version__ = version("crossnets")
__all__ = [
    "DepthFrame",
    "Hand",
    "HandFrame",
    "Lens",
    "LensCamera",
    "Pinhole",
    "Tracker",
    "__version__",
    "load",
    "open",
    "predict",
]
