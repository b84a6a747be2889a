"""Frames from a folder: one of our recordings, or numbered 16-bit PNGs with a camera given."""

from collections.abc import Collection, Iterator
from pathlib import Path

from crossnets.cameras.frames import Closing, DepthFrame, Tell
from crossnets.datasets.dataset import FrameError
from crossnets.datasets.png import sized
from crossnets.datasets.recording import CAMERA_FILE, Recording, images_in
from crossnets.datasets.recording_format import read_camera
from crossnets.geometry.camera import CAMERAS, CameraPreset

FPS = 30.0
"""The recording format has no times, so frames are taken to be this many a second."""


class FolderSource(Closing):
    """Frames of one folder in the order of their numbers. Frames that cannot be read are reported and left out."""

    live = endless = False

    def __init__(self, folder: Path, camera: CameraPreset | None, tell: Tell) -> None:
        """Read the camera and the labels. No image is decoded yet.

        Raises:
            OSError: the folder is missing, empty or may not be read.
            ValueError: no camera is known, two are, the folder holds several recordings, or camera.json is broken.
        """
        self.name = str(folder)
        self._tell, self._closed = tell, False
        images = images_in(folder)
        described = (folder / CAMERA_FILE).is_file()
        if not described:
            _check_single(folder, images, tell)
        if camera is not None and described:
            raise ValueError(f"{folder} has its own {CAMERA_FILE}, so --camera is not used. Leave it out.")
        if camera is None and not described:
            raise ValueError(
                f"{folder} has PNGs without {CAMERA_FILE}, so their pixels cannot become millimetres. Give --camera: "
                f"one of {', '.join(CAMERAS)}, or fx,fy,cx,cy in pixels and optionally mm per depth count."
            )
        if camera is not None and not all((camera.width_px, camera.height_px)):
            camera = sized(camera, list(images.values()))
            if camera is None:
                raise ValueError(f"None of the {len(images)} files in {folder} is a PNG image.")
        self._frames = Recording(folder, camera=camera)
        for problem in self._frames.problems:
            tell(str(problem))
        self.preset = camera if camera is not None else read_camera(folder, images)
        self.skeleton = self._frames.skeleton

    def __len__(self) -> int:
        return len(self._frames)

    def __enter__(self) -> "FolderSource":
        self._closed = False
        return self

    def close(self) -> None:
        """See `DepthSource`."""
        self._closed = True

    def __iter__(self) -> Iterator[DepthFrame]:
        """The frames that can be read.

        Raises:
            ValueError: none can.
        """
        last = ""
        read = 0
        for index in range(len(self._frames)):
            if self._closed:
                return
            try:
                depth_mm, camera, joints_mm = self._frames.as_taken(index)
            except FrameError as error:
                last = str(error)
                self._tell(f"Left out: {last}")
                continue
            read += 1
            yield DepthFrame(depth_mm, camera, index / FPS, index, joints_mm)
        if not read:
            raise ValueError(f"None of the {len(self._frames)} frames of {self.name} can be read. The last: {last}")


def _check_single(folder: Path, images: Collection[str], tell: Tell) -> None:
    """Refuse a folder that has neither images nor a camera, and name folders below it that are not read."""
    below = sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "overlays")
    inner = [path for path in below if images_in(path)]
    names = ", ".join(path.name for path in inner[:5])
    if images:
        if inner:
            tell(f"Only the PNGs of {folder} itself are read, not those of the folders in it ({names}).")
        return
    if inner:
        what = "recordings" if all((path / CAMERA_FILE).is_file() for path in inner) else "folders of PNGs"
        raise ValueError(f"{folder} holds {what} ({names}) and no PNG of its own. Give one of them: {inner[0]}.")
    raise ValueError(f"{folder} holds no PNG. Expected a recording ({CAMERA_FILE} and 16-bit depth PNGs).")
