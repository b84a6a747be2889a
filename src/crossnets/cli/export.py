"""The command `export`."""

from pathlib import Path
from typing import Literal

import tyro


def export(
    run: tyro.conf.Positional[Path],
    to: Literal["onnx", "openvino"] = "onnx",
    int8: bool = False,
    data: str | None = None,
    out: Path | None = None,
) -> None:
    """Write a model as a file that runs without torch, and compare both in mm.

    Args:
        run: Run or model folder, of an estimator or of a detector.
        to: Format; ONNX is read by ONNX Runtime and by OpenVINO, the other by OpenVINO alone.
        int8: Most convolutions in integers, calibrated on rendered hands: smaller and faster, and less exact.
        data: Real frames to compare on, such as cvar:PATH#P5; rendered hands unless given.
        out: The file; model.onnx, or .xml, beside the weights unless given.
    """
    from crossnets.export.comparison import export_command

    export_command(run, to, int8, data, out)
