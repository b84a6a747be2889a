"""The model that comes with the package: networks to run, weights to go on from, and its card, README.md."""

from pathlib import Path

SHIPPED = Path(__file__).parent
