"""Commands about data sets."""

from typing import Literal

import tyro

from crossnets.datasets.info import info_command


def data(
    action: tyro.conf.Positional[Literal["info"]],
    path: tyro.conf.Positional[str],
    split: Literal["train", "test"] = "train",
    json: bool = False,
) -> None:
    """Report what a data set's folder holds: frames, labels, joints, camera, depth range, bones, and broken files.

    Args:
        action: The only action is info.
        path: A folder, or FORMAT:FOLDER#PARTS, such as cvar:PATH#P1,P4.
        split: Split of NYU and ICVL.
        json: Print JSON alone.
    """
    assert action == "info"
    info_command(path, json, split)
