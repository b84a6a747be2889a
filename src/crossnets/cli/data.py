"""Commands about data sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import Progress

from crossnets.cli.arguments import Source, Sources
from crossnets.datasets.converting import Converted, convert
from crossnets.datasets.dataset import PROBLEMS_FILE
from crossnets.datasets.image_sources import counted, open_sources
from crossnets.datasets.info import info_command
from crossnets.datasets.label_files import LabelledImages
from crossnets.datasets.packing import PackConfig, Packed, pack
from crossnets.datasets.writers import require_new_folder
from crossnets.geometry.skeleton import find_skeleton
from crossnets.types import HandFrame


@dataclass(frozen=True)
class Info:
    """Report what a data set's folder holds: frames, labels, joints, camera, depth range, bones, and broken files.

    Example: crossnets data info cvar:PATH#P1,P4
    """

    path: Source
    """A folder, or FORMAT:FOLDER#PARTS, such as cvar:PATH#P1,P4."""
    split: Literal["train", "test"] = "train"
    """Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D, H2O-3D and H2O."""
    json: bool = False
    """Print JSON alone."""
    bad_labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the names of single frames with bad labels to this text file, for train --leave-out."""


@dataclass(frozen=True)
class Pack:
    """Pack data sets into shards: tar files that train, evaluate and predict read as shards:FOLDER.

    A pack that was killed continues after its last whole shard when the same command is given again.

    Example: crossnets data pack nyu:PATH my-recording --out shards
    """

    sources: Sources
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
    """Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D, H2O-3D and H2O."""
    camera: str | None = None
    """Camera of PNGs without camera.json: a name, or fx,fy,cx,cy in pixels and, after them, the mm of one count. The
    coefficients of a lens may follow after a colon."""


@dataclass(frozen=True)
class Convert:
    """Write a data set, or depth images with a file of labels, in another format.

    Frames keep their order. A recording keeps their keys too. What was written is read again and compared with its
    source, and the labels are checked. Nothing is overwritten.

    Example: crossnets data convert images --camera d435 --labels joints.csv --skeleton msra21 --to recording --out mine
    """

    source: Source
    """A data set such as cvar:PATH#P1,P4, a recording, shards, a folder of 16-bit PNGs, or a .npy file."""
    to: Literal["recording", "nyu", "icvl", "msra", "cvar", "hands17", "fpha", "dexycb", "ho3d", "h2o"]
    """Format. All but recordings have a fixed camera and skeleton, which the source must have too."""
    out: Path
    """New folder. It gets its name when everything is written and compared."""
    split: Literal["train", "test"] = "train"
    """Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D and H2O, of the source and of the result."""
    camera: str | None = None
    """Camera of PNGs without camera.json and of .npy files, as for predict."""
    labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Labels of the images: a .npz file, a .csv file, or COCO keypoints with depths in a .json file."""
    skeleton: str | None = None
    """Skeleton of --labels: a name such as msra21, or a JSON file that declares one."""


def data(
    action: Annotated[
        Annotated[Info, tyro.conf.subcommand("info", prefix_name=False)]
        | Annotated[Pack, tyro.conf.subcommand("pack", prefix_name=False)]
        | Annotated[Convert, tyro.conf.subcommand("convert", prefix_name=False)],
        tyro.conf.arg(name=""),
    ],
) -> None:
    """Report on data sets, convert them, or pack them into shards.

    Example: crossnets data info my-recording
    """
    if isinstance(action, Info):
        info_command(action.path, action.json, action.split, action.bad_labels, _scale_notes)
    elif isinstance(action, Convert):
        _convert(action)
    else:
        _pack(action)


def _scale_notes(frames: Sequence[HandFrame]) -> list[str]:
    """Check the camera and the scale of depth by the hands that the model of the package finds."""
    import crossnets
    from crossnets.inference.doctor import scale_notes

    return scale_notes(frames, crossnets.load().predict)


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


def _convert(asked: Convert) -> None:
    if (asked.labels is None) != (asked.skeleton is None):
        raise ValueError("--labels and --skeleton go together: the skeleton names the joints of the file of labels.")
    require_new_folder(asked.out)
    (source,) = open_sources([asked.source], asked.camera, asked.split)
    if asked.labels is not None:
        source = LabelledImages(source, asked.labels, find_skeleton(asked.skeleton))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("converting", total=None)
        converted = convert(
            source,
            asked.to,
            asked.out,
            split=asked.split,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print("\n".join(_converted(asked, converted)))


def _converted(asked: Convert, converted: Converted) -> list[str]:
    """Describe a conversion, one line for each fact."""
    lines = [f"{asked.out}: {counted(converted.frames, 'frame')} as {asked.to}, {converted.labelled} of them labelled."]
    if converted.changed:
        changed = counted(converted.changed, "frame")
        lines.append(f"Depth differs from the source in {changed}, by up to {converted.depth_off_mm:g} mm.")
    else:
        lines.append("Depth is that of the source in every pixel.")
    if converted.labelled:
        lines.append(f"Joints are within {max(converted.joints_off_mm, 1e-4):.4f} mm of the source.")
    report = converted.labels
    if report is not None and report.cause is not None:
        lines.append(f"The labels do not seem right. {report.cause}")
    elif report is not None and report.fit is not None:
        lines.append(f"{report.fit:.0%} of the joints lie on the surface that the images show.")
    if report is not None and report.bad:
        lines.append(f"Labels that do not fit their images: {len(report.bad)}, first {report.bad[0]}.")
    if converted.problems:
        lines.append(f"Left out: {converted.problems}, listed in {asked.out / PROBLEMS_FILE}.")
    return lines


def _told(out: Path, packed: Packed) -> str:
    text = f"{out}: {counted(packed.frames, 'frame')} in {counted(packed.shards, 'shard')}"
    if packed.was_finished:
        text += ", finished before"
    if packed.problems:
        text += f"; what is broken in the sources ({packed.problems}) is listed in {out / PROBLEMS_FILE}"
    return text
