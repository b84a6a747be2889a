"""The command that measures what predictions cost."""

from pathlib import Path
from typing import Literal

import tyro


def benchmark(
    action: tyro.conf.Positional[Literal["latency"]],
    frames: int = 32,
    runtimes: tuple[Literal["onnxruntime", "openvino", "openvino-bf16"], ...] = (),
    peers: bool = True,
    seconds: float = 60.0,
    json: bool = False,
    out: Path | None = None,
) -> None:
    """Measure what predictions cost on this machine, and which share of the processor's peak they reach.

    Args:
        action: latency times our networks and published architectures alone, whole frames from a raw 640x480
            image to joints in mm, new processes, and products of matrices for the peak. Everything is timed in turns
            and takes two minutes.
        frames: Rendered images for whole frames.
        runtimes: Runtimes. All that are installed by default.
        peers: --no-peers leaves out DeepPrior, DeepPrior++, REN-9x6x6 and A2J.
        seconds: Seconds of timing. Preparation takes about as long again.
        json: Print JSON alone.
        out: A file for the JSON.
    """
    assert action == "latency"
    # Whatever is missing is told now, not after the first minute.
    import numba  # noqa: F401
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import torch  # noqa: F401

    from crossnets.benchmark.latency import LatencyConfig, Presets, latency_command
    from crossnets.benchmark.peers import PEERS
    from crossnets.geometry.skeleton import MSRA21
    from crossnets.training import presets

    measured = Presets(
        estimators=(presets.paper(MSRA21), presets.crossnets()), shipped="crossnets", detector=presets.detector()
    )
    config = LatencyConfig(frames=frames, engines=runtimes, peers=tuple(PEERS) if peers else (), seconds=seconds)
    latency_command(measured, config, as_json=json, out=out)
