"""Commands about data sets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import Progress

from crossnets.datasets.dataset import PROBLEMS_FILE
from crossnets.datasets.images import open_sources
from crossnets.datasets.info import info_command
from crossnets.datasets.packing import PackConfig, Packed, pack


@dataclass(frozen=True)
class Info:
    """Report what a data set's folder holds: frames, labels, joints, camera, depth range, bones, and broken files."""

    path: tyro.conf.Positional[str]
    """A folder, or FORMAT:FOLDER#PARTS, such as cvar:PATH#P1,P4."""
    split: Literal["train", "test"] = "train"
    """Split of NYU, ICVL and HANDS17."""
    json: bool = False
    """Print JSON alone."""


@dataclass(frozen=True)
class Pack:
    """Pack data sets into shards: tar files that train, evaluate and predict read as shards:FOLDER.

    A pack that was killed continues after its last whole shard when the same command is given again.
    """

    sources: tyro.conf.Positional[tuple[str, ...]]
    """Data sets such as cvar:PATH#P1,P4, recordings, or 16-bit PNGs, labelled or not."""
    out: Path
    """New folder for the shards and index.json, or that of the same command before."""
    frames_per_shard: int = 2000
    """Frames of each tar file. The last one may have fewer."""
    seed: int = 0
    """Seed of the order of the frames. The frames of all sources are shuffled together."""
    cube: float | None = None
    """Side in mm of a cube around the hand. Only its part of each image is kept, at the resolution of the source.
    Where no hand is found the whole image is kept."""
    split: Literal["train", "test"] = "train"
    """Split of NYU, ICVL and HANDS17."""
    camera: str | None = None
    """Camera of PNGs without camera.json: a name, or fx,fy,cx,cy in pixels and, after them, the mm of one count. The
    coefficients of a lens may follow after a colon."""


def data(
    action: Annotated[
        Annotated[Info, tyro.conf.subcommand("info", prefix_name=False)]
        | Annotated[Pack, tyro.conf.subcommand("pack", prefix_name=False)],
        tyro.conf.arg(name=""),
    ],
) -> None:
    """Report on data sets, or pack them into shards."""
    if isinstance(action, Info):
        info_command(action.path, action.json, action.split)
    else:
        _pack(action)


def _pack(asked: Pack) -> None:
    if not asked.sources:
        raise ValueError("Found no sources; give data sets, such as cvar:PATH#P1,P4 or my-recording.")
    config = PackConfig(
        frames_per_shard=asked.frames_per_shard,
        seed=asked.seed,
        cube_mm=asked.cube,
        split=asked.split,
        camera=asked.camera,
    )
    sources = dict(zip(asked.sources, open_sources(asked.sources, asked.camera, asked.split), strict=True))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("packing", total=None)
        packed = pack(
            sources,
            asked.out,
            config,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    print(_told(asked.out, packed))


def _told(out: Path, packed: Packed) -> str:
    text = f"{out}: {packed.frames} frames in {packed.shards} shards"
    if packed.was_finished:
        text += ", finished before"
    if packed.problems:
        text += f"; what is broken in the sources ({packed.problems}) is listed in {out / PROBLEMS_FILE}"
    return text
