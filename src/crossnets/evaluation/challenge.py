"""Predictions as HO-3D's challenges take them: `pred.json`, which is zipped and uploaded.

The layout follows `pred.py` and `eval.py` of the authors' tools (github.com/shreyashampali/ho3d).
"""

import json
from pathlib import Path

import numpy as np

from crossnets.atomic import replacing
from crossnets.datasets.ho3d import HO3D, OPENGL
from crossnets.evaluation.predictions import PredictionFile
from crossnets.geometry.skeleton import HO3D_21

_VERTICES = 778
"""Vertices of the hand model MANO."""


def write_challenge(path: Path, dataset: HO3D, predicted: PredictionFile) -> int:
    """Write joints in m in OpenGL's frame for each line of `evaluation.txt`, then vertices.

    Our models have no vertices. They are zero, as in the tools' own example, so only the challenge's scores of joints
    count. Joints of frames without a prediction are zero too.

    Args:
        path: The file. It appears whole or not at all.
        dataset: The evaluation frames, all of them.
        predicted: Predictions, matched by key. Their joints may be in another order.

    Returns:
        Number of frames without a prediction.

    Raises:
        ValueError: the predictions lack joints of HO-3D.
    """
    order = predicted.skeleton.order_of(HO3D_21)
    if order is None:
        raise ValueError(
            f"The predictions are joints of {predicted.skeleton.name}, expected those of {HO3D_21.name} in any order. "
            "Take a model with these joints, such as the package's."
        )
    joints_mm = {frame.key: frame.joints_mm for frame in predicted.frames if frame.joints_mm is not None}
    vertices = json.dumps(np.zeros((_VERTICES, 3), np.int64).tolist(), separators=(",", ":"))
    with replacing(path) as part, part.open("w", encoding="utf-8") as stream:
        stream.write("[[")
        for number, key in enumerate(dataset.listed):
            found = joints_mm.get(key)
            joints_m = np.zeros((21, 3)) if found is None else found[list(order)] / 1000 * OPENGL
            stream.write(("," if number else "") + json.dumps(np.round(joints_m + 0.0, 7).tolist()))
        stream.write("],[")
        for number in range(len(dataset.listed)):
            stream.write(("," if number else "") + vertices)
        stream.write("]]\n")
    return sum(key not in joints_mm for key in dataset.listed)
