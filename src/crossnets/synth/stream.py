"""An endless stream of rendered hands with exact labels. Frame `index` of a seed is always the same.

Hands are drawn in blocks of 256, and each block is seeded by (seed, number of the block). A frame therefore depends
neither on batches, nor on workers, nor on the order of frames. Resuming needs only the next index.
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
from crossnets.synth.casting.spheremesh import SphereMesh, stack
from crossnets.synth.casting.triangles import TriangleMesh, draw_triangles
from crossnets.synth.hand.anny_hands import draw_anny, faces_of, hidden_spheres, pose_skins
from crossnets.synth.hand.anthropometry import People, hand_length, sample_shape
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import HandFrames, forward
from crossnets.synth.hand.sampler import DISTANCE_MM, Views, put, sample_views, take
from crossnets.synth.hand.surface import NAMES, Spheres, surface
from crossnets.synth.sensor import noise
from crossnets.synth.sensor.hole_filling import WAYS, fill_holes
from crossnets.synth.surroundings.clutter import Clutter, Surroundings, hand_pixels, surround, without_hands
from crossnets.synth.surroundings.parts import forget_beyond, hide_outside
from crossnets.types import HandFrame

KINDS_OF_SENSOR = ("realsense-sr300", "realsense-d435", "cvar-senz3d", "azure-kinect-nfov")
"""Structured light, stereo, and time of flight with few and with many pixels."""
BLOCK = 256
"""Number of hands that are drawn together."""
_CACHED_BLOCKS = 16
_BEYOND_MM = 10.0
"""The sensor's noise is computed up to this depth behind a cube. Surfaces that leave the cube therefore have no edge at
its back."""
_FAR_MM = np.float32(1e5)
"""Stands for the depth of surfaces behind a cube, which do not belong to its crop."""
HAND_PATCH = 0
"""Patch of the first hand's first sphere. Pixels of Anny's skins have it too."""
_SIZE_ERROR = 0.08
"""Relative deviation of a hand's length as estimated by a first pass."""


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """Settings of rendered hands."""

    camera: str = "realsense-sr300"
    """Camera preset. It also selects the noise model."""
    skeleton: Skeleton = MSRA21
    seed: int = 0
    noise: tuple[float, float] = (1.0, 1.0)
    """Least and greatest strength of the sensor's noise, drawn uniformly for each frame. 0 renders exact depth."""
    left_share: float = 0.5
    distance_mm: tuple[float, float] = DISTANCE_MM
    views: Views | None = None
    """Shares of the kinds of view. None takes the defaults of the sampler."""
    people: People | None = None
    """Distribution of hand shapes. None takes the default mixture."""
    without: tuple[str, ...] = ()
    """Excluded families of gestures (`synth.hand.gestures.FAMILIES`)."""
    cube_mm: tuple[float, float] = (CUBE_MM, CUBE_MM)
    """Least and greatest side of a crop's cube, drawn uniformly."""
    center_spread_mm: float = 10.0
    """Deviation of a crop's centre from the mean of the joints in each axis."""
    again_share: float = 0.0
    """Share of the crops that are cut like those of a second pass (`CropEstimator.refined_cubes`). Their cubes are in
    proportion to the hand, with the error of a first pass in its size. Their centres deviate half as much."""
    clutter: Clutter | None = None
    """Surroundings of the hand. None renders hand and forearm only. Clutter does not change hands, but forearms may be
    longer."""
    anny: float = 0.0
    """Share of hands whose skin is a mesh of the body model Anny (`synth.hand.anny_hands`). It needs the extra `anny`.
    Second hands keep the skin of this package."""
    filled: float = 0.0
    """Share of the crops in which invalid pixels took the depth of neighbours (`synth.sensor.hole_filling`). In half of
    them everything behind the cube is invalid before. Whole frames are not filled."""

    def __post_init__(self) -> None:
        noise.sensor_of(self.camera)
        if not 0 <= self.noise[0] <= self.noise[1] < np.inf:
            raise ValueError(f"noise={self.noise}: expected least and greatest strength, 0 or more, in order.")
        if not 0 < self.cube_mm[0] <= self.cube_mm[1] < np.inf:
            raise ValueError(f"cube_mm={self.cube_mm}: expected least and greatest side, above 0, in order.")
        shares = (self.left_share, self.again_share, self.anny, self.filled)
        if not (all(0 <= share <= 1 for share in shares) and self.seed >= 0):
            raise ValueError(
                f"left_share={self.left_share}, again_share={self.again_share}, anny={self.anny}, "
                f"filled={self.filled}, seed={self.seed}: expected shares from 0 to 1 and a seed of 0 or more."
            )


class SyntheticCrops(NamedTuple):
    """Crops as `crop_hand` cuts them out of the frames, with their labels."""

    depth_mm: Float32[np.ndarray, "B S S"]
    """Zero is background or missing depth. Depth nearer than the cube is clamped to its front."""
    joints_mm: Float32[np.ndarray, "B J 3"]
    """Joints in the camera frame."""
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
    """Number of pixels of the image before noise that show this hand without its forearm."""


class SyntheticScene(NamedTuple):
    """A frame and all hands in it. The first hand is that of the frame's label."""

    frame: HandFrame
    hands: tuple[SceneHand, ...]


class Picture(NamedTuple):
    """The contents of a frame before it is rendered."""

    mesh: SphereMesh
    """The hands and their surroundings."""
    hanging_mm: Float64[np.ndarray, "2 3"] | None
    """Elbows of hanging arms, as in `synth.surroundings.clutter.Surroundings`. None without clutter."""
    hands: tuple[tuple[Float32[np.ndarray, "J 3"], int], ...]
    """Joints and side of each hand. The first hand is that of the frame's label."""
    strength: float
    """Strength of the sensor's noise."""
    noise_seed: int
    skin: TriangleMesh | None = None
    """Skin of the first hand if it is one of Anny's. The spheres of such a hand lie inside its skin."""


class _Block(NamedTuple):
    mesh: SphereMesh
    around: Surroundings | None
    skins: dict[int, TriangleMesh]
    """Skin of each row that is a hand of Anny's."""
    joints_mm: Float32[np.ndarray, "N J 3"]
    side: Float64[np.ndarray, "N"]
    strength: Float64[np.ndarray, "N"]
    noise_seeds: Int64[np.ndarray, "N"]
    centers_mm: Float64[np.ndarray, "N 3"]
    cube_mm: Float64[np.ndarray, "N"]


class SyntheticHands:
    """The frames of a configuration, numbered from 0 without end.

    An instance must not be used by two threads at once. Give each thread an instance of its own.
    """

    def __init__(self, config: SyntheticConfig | None = None) -> None:
        self.config = config or SyntheticConfig()
        self.preset = camera_named(self.config.camera)
        self.camera = self.preset.pinhole
        self.skeleton = self.config.skeleton
        self._sensor = noise.SENSORS[self.config.camera]
        self._blocks: OrderedDict[int, _Block] = OrderedDict()

    def frame(self, index: int) -> HandFrame:
        """Render a whole image with the hand, its forearm, its surroundings and the sensor's noise.

        Raises:
            IndexError: the index is negative.
        """
        return self.scene(index).frame

    def scene(self, index: int) -> SyntheticScene:
        """Like `frame`, with the labels of every hand. A second hand has the other side.

        Raises:
            IndexError: the index is negative.
        """
        block, row = self._find(index)
        picture = self.picture(index)
        hit = render_patches(picture.mesh, self.camera, self.preset.width_px, self.preset.height_px)
        if picture.skin is not None:
            rays = pixel_slopes(self.camera, self.preset.width_px, self.preset.height_px)
            draw_triangles(picture.skin, *rays, hit.depth_mm[0], hit.patch[0], HAND_PATCH)
        joints_mm, side = picture.hands[0]
        frame = self._sensed(index, block, row, hit.depth_mm[0], "right" if side > 0 else "left", joints_mm.copy())
        pixels = hand_pixels(hit.patch[0], picture.mesh)
        hands = zip(picture.hands, pixels[: len(picture.hands)], strict=True)
        return SyntheticScene(frame, tuple(SceneHand(*hand, count) for hand, count in hands))

    def picture(self, index: int) -> Picture:
        """Return the contents that `scene` renders. They must not be changed in place.

        Raises:
            IndexError: the index is negative.
        """
        block, row = self._find(index)
        side = int(block.side[row])
        around = block.around
        hands = [(block.joints_mm[row], side)]
        if around is not None and around.second[row]:
            hands.append((around.second_joints_mm[row].astype(np.float32), -side))
        return Picture(
            mesh=block.mesh.take(row),
            hanging_mm=None if around is None else around.hanging_mm[row],
            hands=tuple(hands),
            strength=float(block.strength[row]),
            noise_seed=int(block.noise_seeds[row]),
            skin=block.skins.get(row),
        )

    def empty_frame(self, index: int) -> HandFrame:
        """Render the surroundings of `frame(index)` without hands and forearms, without a label.

        Any hand that is detected in this frame is a false detection.

        Raises:
            IndexError: the index is negative.
            ValueError: the configuration has no clutter, so the frame would be empty.
        """
        block, row = self._find(index)
        if block.around is None:
            raise ValueError(
                "Cannot render a frame without hands, because the configuration has no clutter. Set clutter."
            )
        bare = without_hands(block.mesh.take([row]), block.around.hanging_mm[[row]])
        x, y = pixel_slopes(self.camera, self.preset.width_px, self.preset.height_px)
        return self._sensed(index, block, row, cast_depth(bare, x[None], y[None])[0], "empty", None)

    def _sensed(
        self, index: int, block: _Block, row: int, depth_mm: np.ndarray, sequence: str, joints_mm: np.ndarray | None
    ) -> HandFrame:
        """Apply the sensor's noise to an image and make a frame of it."""
        strength = float(block.strength[row])
        if strength > 0:
            depth_mm = noise.apply(depth_mm, self.camera, self._sensor, int(block.noise_seeds[row]), strength)
        name = "synthetic-empty" if joints_mm is None else "synthetic"
        key = f"{name}/{self.config.camera}/{self.config.seed}/{index:09d}"
        return HandFrame(key, sequence, depth_mm, self.camera, joints_mm)

    def crops(self, indices: Sequence[int] | Int64[np.ndarray, "B"], size_px: int = CROP_PX) -> SyntheticCrops:
        """Render crops of these frames without rendering the frames.

        Raises:
            IndexError: an index is negative.
            ValueError: no index is given.
        """
        if not len(indices):
            raise ValueError("No frames requested: give at least one index.")
        places = [self._find(int(index)) for index in indices]
        fields = [[field[row] for field in block[3:]] for block, row in places]
        joints_mm, side, strength, seeds, centers_mm, cube_mm = map(np.stack, zip(*fields, strict=True))
        size = (self.preset.width_px, self.preset.height_px)
        grid = crop_grid(self.camera, centers_mm, cube_mm, size_px, image_px=size)
        mesh = stack([block.mesh.take(row) for block, row in places])
        # Parts that no ray meets and depth far behind the cube hardly change the crop. Removing them saves time.
        if self.config.clutter is not None:
            hide_outside(mesh, grid, _BEYOND_MM)
        depth = cast_depth(mesh, grid.x, grid.y)
        for image, x, y, (block, row) in zip(depth, grid.x, grid.y, places, strict=True):
            if row in block.skins:
                draw_triangles(block.skins[row], x, y, image)
        behind = depth > (grid.back_mm + _BEYOND_MM)[:, None, None] if self.config.filled else None
        if self.config.clutter is not None:
            forget_beyond(depth, grid, _BEYOND_MM)
        if strength.any():
            depth = noise.apply_crops(depth, grid, self._sensor, seeds, strength)
        if behind is not None:
            self._fill(depth, behind, indices)
        clip_to_cubes(depth, grid)
        numbers = (centers_mm, cube_mm, side)
        return SyntheticCrops(depth, joints_mm, *(number.astype(np.float32) for number in numbers))

    def _fill(self, depth_mm: np.ndarray, behind: np.ndarray, indices: Sequence[int] | Int64[np.ndarray, "B"]) -> None:
        """Fill the holes of a share of the crops, in place. `behind` has the surfaces far behind the cubes."""
        for image, far, index in zip(depth_mm, behind, indices, strict=True):
            rng = np.random.default_rng([self.config.seed, 5, int(index)])
            if rng.random() >= self.config.filled:
                continue
            if rng.random() < 0.5:
                image[far & (image == 0)] = _FAR_MM
            fill_holes(image, int(rng.choice(WAYS)))

    def _find(self, index: int) -> tuple[_Block, int]:
        """Return the block of a frame and the frame's row in it."""
        if index < 0:
            raise IndexError(f"Invalid frame {index}: frames are numbered from 0.")
        number, row = divmod(index, BLOCK)
        if number not in self._blocks:
            self._blocks[number] = self._draw(number)
            if len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number], row

    def _draw(self, number: int) -> _Block:
        """Draw a block. All its hands are always drawn together, so that each is the same to the last bit."""
        config = self.config
        rng = np.random.default_rng([config.seed, number])
        shape = sample_shape(rng, BLOCK, config.left_share, config.people)
        # The hands of Anny have a generator of their own. Without them a block is the same as before there were any.
        anny_rng = np.random.default_rng([config.seed, number, 3])
        rows = np.flatnonzero(anny_rng.random(BLOCK) < config.anny)
        rest = None
        if len(rows):
            made, rest = draw_anny(anny_rng, take(shape, rows))
            shape = put(shape, rows, made)
        scene = sample_views(
            rng,
            BLOCK,
            self.preset,
            distance_mm=config.distance_mm,
            views=config.views,
            without=config.without,
            shape=shape,
        )
        frames = forward(scene.shape, scene.pose)
        joints_mm = np.asarray(joints(frames, self.skeleton))
        off_mm = config.center_spread_mm * rng.standard_normal((BLOCK, 3))
        around = None
        if config.clutter is not None:
            # Clutter draws from a generator of its own, so that the hands are the same as without clutter.
            clutter_rng = np.random.default_rng([config.seed, number, 1])
            around = surround(clutter_rng, scene, config.clutter, self.skeleton)
        mesh = surface(frames, scene.shape) if around is None else around.mesh
        skins = {}
        if rest is not None:
            posed = HandFrames(*(part[rows] for part in vars(frames).values()))
            hand = Spheres(mesh.centers_mm[rows, : len(NAMES)], mesh.radii_mm[rows, : len(NAMES)])
            hidden = hidden_spheres(hand, rest, posed)
            mesh.centers_mm[rows, : len(NAMES)] = hidden.centers_mm
            mesh.radii_mm[rows, : len(NAMES)] = hidden.radii_mm
            vertices = pose_skins(rest, posed)
            sides = scene.shape.side[rows]
            skins = {int(row): TriangleMesh(vertices[k], faces_of(sides[k])) for k, row in enumerate(rows)}
        strength = rng.uniform(*config.noise, BLOCK)
        noise_seeds = rng.integers(2**62, size=BLOCK)
        cube_mm = rng.uniform(*config.cube_mm, BLOCK)
        again = rng.random(BLOCK) < config.again_share
        sizes_mm = hand_length(scene.shape) * np.exp(_SIZE_ERROR * rng.standard_normal(BLOCK))
        cube_mm = np.where(again, sizes_mm / HAND_IN_CUBE, cube_mm)
        centers_mm = joints_mm.mean(axis=1) + np.where(again[:, None], off_mm / 2, off_mm)
        return _Block(
            mesh=mesh,
            around=around,
            skins=skins,
            joints_mm=joints_mm.astype(np.float32),
            side=np.asarray(scene.shape.side),
            strength=strength,
            noise_seeds=noise_seeds,
            # Labels are float32. Rounding here makes `crop_hand` cut the same crop from the centre of the label.
            centers_mm=centers_mm.astype(np.float32).astype(np.float64),
            cube_mm=cube_mm.astype(np.float32).astype(np.float64),
        )
