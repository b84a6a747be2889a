"""The command `info`: what the networks of a preset cost."""

import json as json_module
from typing import Literal

from rich.console import Console
from rich.table import Table


def info(
    preset: Literal["paper", "crossnets"] = "paper",
    joints: int = 21,
    shared_latent: bool = True,
    metric: Literal["separate", "combined"] = "separate",
    json: bool = False,
) -> None:
    """Print parameters and multiply-adds of a preset's networks.

    Example: crossnets info --preset crossnets

    Args:
        preset: The networks.
        joints: Joints of the skeleton: 16 (ICVL), 21 (MSRA, CVAR), 36 (NYU). The preset crossnets always has 21.
        shared_latent: --no-shared-latent shows the from-scratch baseline.
        metric: The head that judges distances.
        json: Print JSON alone.
    """
    from crossnets.models.complexity import complexity
    from crossnets.training import presets

    paper = presets.paper_networks(joints, metric, shared_latent=shared_latent)
    joints = joints if preset == "paper" else 21
    parts = complexity(paper if preset == "paper" else presets.crossnets_networks())
    if json:
        networks = {name: {"parameters": c.parameters, "macs": c.macs} for name, c in parts.items()}
        print(json_module.dumps({"preset": preset, "joints": joints, "networks": networks}, indent=2))
        return
    table = Table("network", "parameters", "multiply-adds", title=f"preset {preset}, {joints} joints, 128x128")
    for name, cost in parts.items():
        table.add_row(name, f"{cost.parameters:,}", f"{cost.macs:,}")
    Console().print(table)
