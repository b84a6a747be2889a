"""Endless rendered hands with exact labels: frame `index` of a seed is the same whoever asks for it, and when.

Hands are drawn in blocks of 256, each from (seed, number of the block). A frame is one of its block. So neither
batches, nor workers, nor the order of frames change anything, and resuming needs no state but the next index.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from crossnets.geometry.camera import camera_named
from crossnets.geometry.crop import CROP_PX, CUBE_MM, HAND_IN_CUBE
from crossnets.geometry.skeleton import MSRA21, Skeleton
from crossnets.synth.casting.raster import cast_depth, clip_to_cubes, crop_grid, pixel_slopes, render_patches
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.hand.anthropometry import People, hand_length
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import forward
from crossnets.synth.hand.sampler import DISTANCE_MM, Views, sample_views
from crossnets.synth.hand.surface import surface
from crossnets.synth.sensor import noise
from crossnets.synth.surroundings.clutter import Clutter, Surroundings, hand_pixels, surround, without_hands
from crossnets.synth.surroundings.parts import forget_beyond, hide_outside
from crossnets.types import HandFrame

KINDS_OF_SENSOR = ("realsense-sr300", "realsense-d435", "cvar-senz3d", "azure-kinect-nfov")
"""Structured light, stereo, and time of flight of few and of many pixels."""
BLOCK = 256
_KEPT_BLOCKS = 16
_BEYOND_MM = 10.0
"""Farther than this behind a cube nothing is given to the noise, so that a surface that leaves the cube has no edge
there."""
_SIZE_ERROR = 0.08
"""Relative, of a hand's length as a first pass estimates it."""


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """Settings of rendered hands."""

    camera: str = "realsense-sr300"
    """Camera preset. The sensor of the same name gives the noise."""
    skeleton: Skeleton = MSRA21
    seed: int = 0
    noise: tuple[float, float] = (1.0, 1.0)
    """Least and most strength of the sensor's noise, drawn evenly for each frame; 0 renders exact depth."""
    left_share: float = 0.5
    distance_mm: tuple[float, float] = DISTANCE_MM
    views: Views | None = None
    """Shares of the kinds of view; None for the sampler's own."""
    people: People | None = None
    """People of the hands. None takes the usual mixture."""
    without: tuple[str, ...] = ()
    """Families of gestures (`synth.hand.gestures.FAMILIES`) that nobody makes."""
    cube_mm: tuple[float, float] = (CUBE_MM, CUBE_MM)
    """Least and most side of a crop's cube, drawn evenly."""
    center_spread_mm: float = 10.0
    """Deviation, in each axis, of a crop's centre from the mean of the joints."""
    again_share: float = 0.0
    """Share of the crops that are cut as those of a second pass are (`CropEstimator.refined_cubes`): in
    proportion to the hand, up to the error of a first pass in its size, and half as far off the joints."""

    clutter: Clutter | None = None
    """Surroundings of the hand. None shows its forearm only. The hands are the same, but forearms may be longer."""

    def __post_init__(self) -> None:
        noise.sensor_of(self.camera)
        if not 0 <= self.noise[0] <= self.noise[1] < np.inf:
            raise ValueError(f"noise={self.noise}: expected least and most strength, 0 or more, in order.")
        if not 0 < self.cube_mm[0] <= self.cube_mm[1] < np.inf:
            raise ValueError(f"cube_mm={self.cube_mm}: expected least and most side, above 0, in order.")
        if not (0 <= self.left_share <= 1 and 0 <= self.again_share <= 1 and self.seed >= 0):
            raise ValueError(
                f"left_share={self.left_share}, again_share={self.again_share}, seed={self.seed}: "
                "expected shares from 0 to 1 and a seed of 0 or more."
            )


class SyntheticCrops(NamedTuple):
    """Crops as `crop_hand` cuts them out of the frames, and their labels."""

    depth_mm: Float32[np.ndarray, "B S S"]
    """Zero: background or nothing seen; nearer than the cube: its front."""
    joints_mm: Float32[np.ndarray, "B J 3"]
    """Camera frame."""
    centers_mm: Float32[np.ndarray, "B 3"]
    cube_mm: Float32[np.ndarray, "B"]
    side: Float32[np.ndarray, "B"]
    """1 a right hand, -1 a left one."""


class SceneHand(NamedTuple):
    """One hand in a frame."""

    joints_mm: Float32[np.ndarray, "J 3"]
    side: int
    """1 a right hand, -1 a left one."""
    pixels: int
    """Pixels of the image before noise that show this hand without its forearm. 0 if it is outside or hidden."""


class SyntheticScene(NamedTuple):
    """A frame and all hands in it: first the one that the frame's own label is of."""

    frame: HandFrame
    hands: tuple[SceneHand, ...]


class Picture(NamedTuple):
    """Everything about a frame before any camera sees it."""

    mesh: SphereMesh
    """The hands and their surroundings."""
    hanging_mm: Float64[np.ndarray, "2 3"] | None
    """As in `synth.surroundings.clutter.Surroundings`. None without clutter."""
    hands: tuple[tuple[Float32[np.ndarray, "J 3"], int], ...]
    """Joints and side of each hand, those of the frame's own label first."""
    strength: float
    """Strength of the sensor's noise."""
    noise_seed: int


class _Block(NamedTuple):
    mesh: SphereMesh
    around: Surroundings | None
    joints_mm: Float32[np.ndarray, "N J 3"]
    side: Float64[np.ndarray, "N"]
    strength: Float64[np.ndarray, "N"]
    noise_seeds: Int64[np.ndarray, "N"]
    centers_mm: Float64[np.ndarray, "N 3"]
    cube_mm: Float64[np.ndarray, "N"]


class SyntheticHands:
    """The frames of a configuration, numbered from 0 without end. Not for two threads at once: give each its own."""

    def __init__(self, config: SyntheticConfig | None = None) -> None:
        self.config = config or SyntheticConfig()
        self.preset = camera_named(self.config.camera)
        self.camera, self.skeleton = self.preset.pinhole, self.config.skeleton
        self._sensor = noise.SENSORS[self.config.camera]
        self._blocks: OrderedDict[int, _Block] = OrderedDict()

    def frame(self, index: int) -> HandFrame:
        """A whole image with the hand, its forearm, its surroundings and the sensor's noise.

        Raises:
            IndexError: the index is negative.
        """
        return self.scene(index).frame

    def scene(self, index: int) -> SyntheticScene:
        """As `frame`, with the labels of every hand. A second hand has the other side.

        Raises:
            IndexError: the index is negative.
        """
        block, row = self._find(index)
        mesh, _, found, _, _ = self.picture(index)
        hit = render_patches(mesh, self.camera, self.preset.width_px, self.preset.height_px)
        joints_mm, side = found[0]
        frame = self._seen(index, block, row, hit.depth_mm[0], "right" if side > 0 else "left", joints_mm.copy())
        pixels = hand_pixels(hit.patch[0], mesh)
        hands = zip(found, pixels[: len(found)], strict=True)
        return SyntheticScene(frame, tuple(SceneHand(*hand, count) for hand, count in hands))

    def picture(self, index: int) -> Picture:
        """The contents that `scene` renders. They must not be changed in place.

        Raises:
            IndexError: the index is negative.
        """
        block, row = self._find(index)
        side, around = int(block.side[row]), block.around
        found = [(block.joints_mm[row], side)]
        if around is not None and around.second[row]:
            found.append((around.second_joints_mm[row].astype(np.float32), -side))
        mesh = SphereMesh(block.mesh.centers_mm[row], block.mesh.radii_mm[row], block.mesh.topology)
        hanging = None if around is None else around.hanging_mm[row]
        return Picture(mesh, hanging, tuple(found), float(block.strength[row]), int(block.noise_seeds[row]))

    def empty_frame(self, index: int) -> HandFrame:
        """The surroundings of `frame(index)` without hands and forearms, unlabelled. Anything that is found there is
        false.

        Raises:
            IndexError: the index is negative.
            ValueError: the configuration has no clutter, so there would be nothing to see.
        """
        block, row = self._find(index)
        if block.around is None:
            raise ValueError("A frame without hands shows the clutter, and this configuration has none; set clutter.")
        mesh = SphereMesh(block.mesh.centers_mm[[row]], block.mesh.radii_mm[[row]], block.mesh.topology)
        bare = without_hands(mesh, block.around.hanging_mm[[row]])
        x, y = pixel_slopes(self.camera, self.preset.width_px, self.preset.height_px)
        return self._seen(index, block, row, cast_depth(bare, x[None], y[None])[0], "empty", None)

    def _seen(
        self, index: int, block: _Block, row: int, depth_mm: np.ndarray, sequence: str, joints_mm: np.ndarray | None
    ) -> HandFrame:
        """The image through the sensor."""
        strength = float(block.strength[row])
        if strength > 0:
            depth_mm = noise.apply(depth_mm, self.camera, self._sensor, int(block.noise_seeds[row]), strength)
        name = "synthetic-empty" if joints_mm is None else "synthetic"
        key = f"{name}/{self.config.camera}/{self.config.seed}/{index:09d}"
        return HandFrame(key, sequence, depth_mm, self.camera, joints_mm)

    def crops(
        self, indices: Sequence[int] | Int64[np.ndarray, "B"], size_px: int = CROP_PX, *, parallel: bool = False
    ) -> SyntheticCrops:
        """Crops of these frames without rendering the frames; `parallel` as of `raster.cast`.

        Raises:
            IndexError: an index is negative.
            ValueError: there is no index.
        """
        if not len(indices):
            raise ValueError("Asked for crops of no frame; give at least one index.")
        found = [self._find(int(index)) for index in indices]
        parts = [[part[row] for part in block[2:]] for block, row in found]
        joints_mm, side, strength, seeds, centers_mm, cube_mm = (np.stack(part) for part in zip(*parts, strict=True))
        centers = np.stack([block.mesh.centers_mm[row] for block, row in found])
        radii = np.stack([block.mesh.radii_mm[row] for block, row in found])
        size = (self.preset.width_px, self.preset.height_px)
        grid = crop_grid(self.camera, centers_mm, cube_mm, size_px, image_px=size)
        mesh = SphereMesh(centers, radii, found[0][0].mesh.topology)
        if self.config.clutter is not None:
            hide_outside(mesh, grid, _BEYOND_MM)
        depth = cast_depth(mesh, grid.x, grid.y, parallel=parallel)
        if self.config.clutter is not None:
            forget_beyond(depth, grid, _BEYOND_MM)
        if strength.any():
            depth = noise.apply_crops(depth, grid, self._sensor, seeds, strength, parallel=parallel)
        clip_to_cubes(depth, grid)
        numbers = (centers_mm, cube_mm, side)
        return SyntheticCrops(depth, joints_mm, *(number.astype(np.float32) for number in numbers))

    def _find(self, index: int) -> tuple[_Block, int]:
        if index < 0:
            raise IndexError(f"Frames are numbered from 0; asked for {index}.")
        number, row = divmod(index, BLOCK)
        if number not in self._blocks:
            self._blocks[number] = self._draw(number)
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number], row

    def _draw(self, number: int) -> _Block:
        """The hands of a block; always all of them, so that each is the same to the last bit."""
        config = self.config
        rng = np.random.default_rng([config.seed, number])
        scene = sample_views(
            rng,
            BLOCK,
            self.preset,
            distance_mm=config.distance_mm,
            left_share=config.left_share,
            views=config.views,
            people=config.people,
            without=config.without,
        )
        frames = forward(scene.shape, scene.pose)
        joints_mm = np.asarray(joints(frames, self.skeleton))
        off_mm = config.center_spread_mm * rng.standard_normal((BLOCK, 3))
        around = None
        if config.clutter is not None:  # its own numbers, so that the hands stay those without clutter
            clutter_rng = np.random.default_rng([config.seed, number, 1])
            around = surround(clutter_rng, scene, config.clutter, self.skeleton)
        strength, noise_seeds = rng.uniform(*config.noise, BLOCK), rng.integers(2**62, size=BLOCK)
        cube_mm = rng.uniform(*config.cube_mm, BLOCK)
        again = rng.random(BLOCK) < config.again_share
        sizes_mm = hand_length(scene.shape) * np.exp(_SIZE_ERROR * rng.standard_normal(BLOCK))
        cube_mm = np.where(again, sizes_mm / HAND_IN_CUBE, cube_mm)
        centers_mm = joints_mm.mean(axis=1) + np.where(again[:, None], off_mm / 2, off_mm)
        return _Block(
            mesh=surface(frames, scene.shape) if around is None else around.mesh,
            around=around,
            joints_mm=joints_mm.astype(np.float32),
            side=np.asarray(scene.shape.side),
            strength=strength,
            noise_seeds=noise_seeds,
            # As float32, so that `crop_hand` at the centre it is told cuts the same crop.
            centers_mm=centers_mm.astype(np.float32).astype(np.float64),
            cube_mm=cube_mm.astype(np.float32).astype(np.float64),
        )
