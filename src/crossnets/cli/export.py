"""The command `export`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro


def export(
    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]],
    to: Literal["onnx", "openvino"] = "onnx",
    int8: bool = False,
    data: str | None = None,
    out: Path | None = None,
) -> None:
    """Write a model as a file that runs without torch, and compare both in mm.

    Example: crossnets export runs/ours --to onnx

    Args:
        run: Run or model folder of an estimator or of a detector.
        to: Format. ONNX Runtime and OpenVINO read ONNX; only OpenVINO reads its own format.
        int8: Compute most convolutions in integers, calibrated on rendered hands: smaller, faster and less exact.
        data: Real frames for the comparison, such as cvar:PATH#P5. Rendered hands by default.
        out: The file. model.onnx or model.xml beside the weights by default.
    """
    from crossnets.export.exporting import export_command

    export_command(run, to, int8, data, out)
