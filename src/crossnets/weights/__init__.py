"""The model that comes with the package: config.json, weights.safetensors, and its model card, README.md."""

from pathlib import Path

SHIPPED = Path(__file__).parent
