"""Commands that use a model."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from crossnets.weights import SHIPPED


def predict(
    frames: tyro.conf.Positional[tuple[str, ...]],
    camera: str | None = None,
    out: Path = Path("predictions"),
    refine: Literal["none", "update", "energy"] = "none",
    centers: Literal["auto", "detector", "image", "image-paper"] = "auto",
    split: Literal["train", "test"] = "test",
    draw: bool = True,
) -> None:
    """Estimate one hand in each depth image, the likeliest: a file of millimetres, and a picture of each frame.

    Args:
        frames: 16-bit depth PNGs, folders of them, recordings, or data sets such as cvar:PATH#P5. Before them a run or
            model folder; without one, the model that comes with the package is used.
        camera: Of PNGs without camera.json: a name such as realsense-d435, or fx,fy,cx,cy in pixels and optionally mm
            per depth count. Recordings and data sets know their own.
        out: Folder for predictions.jsonl (a header, then a frame a line), which is never overwritten, and overlays/.
        refine: After the estimate: the paper's learned update, or its energy minimised.
        centers: How the hand is found: by the detector of the package, our finder or the paper's. auto takes the
            detector for models that look twice, for others what they were trained with.
        split: Of NYU and ICVL.
        draw: --no-draw leaves the pictures out.
    """
    from crossnets.predict_command import may_be_model, predict_command

    first = frames[0] if frames else "."
    named = (first, first.rpartition("#")[0] or first)  # a data set may be given with its parts
    if ":" not in first and not any(Path(text).expanduser().exists() for text in named):
        raise FileNotFoundError(f"There is neither a run or model nor a frame at {first}.")
    model, *rest = frames if frames and may_be_model(frames[0]) else (SHIPPED, *frames)
    if not rest:
        raise ValueError("Found no frames; give PNGs, folders or data sets, after the model if you give one.")
    predict_command(
        Path(model), rest, camera=camera, out=out, refinement=refine, centers=centers, split=split, draw=draw
    )


def generate(
    action: tyro.conf.Positional[Literal["pose-to-depth", "depth-to-pose", "walk"]],
    model: tyro.conf.Positional[Path],
    data: str,
    frame: str | None = None,
    start: Annotated[str | None, tyro.conf.arg(name="from")] = None,
    end: Annotated[str | None, tyro.conf.arg(name="to")] = None,
    steps: int = 9,
    by_image: bool = False,
    split: Literal["train", "test"] = "test",
    out: Path = Path("generated"),
) -> None:
    """Draw what a model makes of its latent space: a depth map from a pose, a pose from a depth map, or a walk.

    Args:
        action: pose-to-depth starts from the label of a frame, depth-to-pose from its image; walk goes straight from
            the latent of one frame to that of another, and draws a depth map and a pose at each step.
        model: Run or model folder.
        data: Data set with the frames, such as cvar:PATH#P5.
        frame: Of the first two actions: its key, such as cvar/P5/000100, or its index from 0.
        start: Where a walk starts: key or index.
        end: Where it ends.
        steps: Of a walk, with both ends.
        by_image: A walk between what is estimated from the two images, instead of between their labels.
        split: Of NYU and ICVL.
        out: Folder for ACTION.png and, for a walk, walk.gif; old ones are replaced.
    """
    from crossnets.generate_command import generate_command

    paths = generate_command(
        action,
        model,
        data=data,
        split=split,
        frame=frame,
        start=start,
        end=end,
        steps=steps,
        by_image=by_image,
        out=out,
    )
    for path in paths:
        print(path)


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
    from crossnets.export_command import export_command

    export_command(run, to, int8, data, out)
