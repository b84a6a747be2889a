"""Whole frames of rendered hands and people with the places of the hands, thinned like the input of the hand detector.

Each frame adds to `SyntheticHands` a turn about the camera's axis, a scale of its contents, and a shift of the view.
Hands therefore also lie at the border of the image and beyond. Frames without hands often show faces. Frame `index`
of a configuration is always the same. All numbers and shares are our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int8, Int64

from crossnets.geometry.camera import project
from crossnets.geometry.thinned import stride_of, thinned_camera
from crossnets.synth.casting.raster import CropGrid, cast
from crossnets.synth.casting.spheremesh import SphereMesh, stack
from crossnets.synth.casting.triangles import draw_triangles
from crossnets.synth.hand.joint_places import joints_length
from crossnets.synth.sensor import noise
from crossnets.synth.sensor.hole_filling import WAYS, fill_holes
from crossnets.synth.stream import BLOCK, HAND_PATCH, Picture, SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import HAIR, owners, without_hands
from crossnets.synth.surroundings.parts import HAND_SPHERES, SPHERES
from crossnets.types import Pinhole

NONE, PRESENT, UNCLEAR = 0, 1, 2
"""States of a hand. A PRESENT hand must be detected. Too little of an UNCLEAR hand is visible to require a detection or
to forbid it. NONE means that the picture shows no hand."""
_ROLL_RAD = 0.2
"""Deviation of the turn about the camera's axis."""
_SCALE = 0.1
"""Largest logarithm of the scale."""
_JITTER = 0.12
"""Largest shift of the view in most frames, relative to the sides of the image."""
_ASTRAY = 0.5
_ASTRAY_SHARE = 0.2
"""A share of the frames has a larger shift, up to `_ASTRAY`."""
_PERSON_SHARE = 0.7
"""Share of frames without hands for which a picture with a person is searched."""
_PEOPLE_TRIED = 8
"""Number of pictures that the search examines."""
_FACE_SHARE = 0.85
"""Share of the frames with a person that look at the head."""
_FACE_MM = (320.0, 1300.0)
"""Nearest and farthest depth of that head."""
_HAIR_LOST_SHARE = 0.5
"""Share of people whose hair is invisible to the sensor."""
_CUT_PX = 8
_CUT_SHARE = 0.5
"""A share of the frames has empty rows at the bottom, like images that are padded to the height of the input."""
_PRESENT_SHARE = 0.6
_UNCLEAR_SHARE = 0.05
"""Least share of the hand's spheres within the borders of the image, for each state."""
PRESENT_MM2 = 1500.0
_UNCLEAR_MM2 = 150.0
"""Least area of the hand in the pixels with valid depth, for each state."""
_NEAR_SHARE = 0.5
"""A share of the frames with filled holes has lost its background before, as in a camera with a short range."""
_BEHIND_HAND_MM = (40.0, 500.0)
_RANGE_MM = (300.0, 1500.0)
"""Ends of that range: least and greatest distance behind a hand, and least and greatest depth in frames without one."""


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """Settings of rendered scenes."""

    hands: SyntheticConfig
    """Settings of the hands. They must have clutter."""
    empty: float = 0.3
    """Share of frames without hands and forearms."""
    width_px: int = 160
    height_px: int = 128
    """Height of the thinned image."""
    filled: float = 0.0
    """Share of the frames in which invalid pixels took the depth of neighbours (`synth.sensor.hole_filling`)."""

    def __post_init__(self) -> None:
        shares = (self.empty, self.filled)
        small = min(self.width_px, self.height_px) <= _CUT_PX
        if self.hands.clutter is None or not all(0 <= share <= 1 for share in shares) or small:
            raise ValueError(
                f"empty={self.empty}, filled={self.filled}, {self.width_px}x{self.height_px} pixels, "
                f"clutter={self.hands.clutter}: expected shares from 0 to 1, sides above {_CUT_PX}, and clutter. "
                "Frames without hands show only clutter."
            )


class Scenes(NamedTuple):
    """Thinned frames with up to two hands each."""

    depth_mm: Float32[np.ndarray, "B H W"]
    cameras: tuple[Pinhole, ...]
    """Camera of each thinned image. Its optical axis may lie outside the image."""
    uvd: Float32[np.ndarray, "B 2 3"]
    """Centre of each hand, the mean of its joints: column and row of the image, and depth in mm."""
    side: Float32[np.ndarray, "B 2"]
    """1 a right hand, -1 a left one."""
    length_mm: Float32[np.ndarray, "B 2"]
    """Length from the wrist to the tip of the middle finger."""
    state: Int8[np.ndarray, "B 2"]
    """NONE, PRESENT or UNCLEAR."""


class Filling(NamedTuple):
    """Hole filling of one frame."""

    way: int
    """One of `hole_filling.WAYS`."""
    range_mm: float
    """Depth beyond this was lost before."""


def filled(depth_mm: Float32[np.ndarray, "H W"], filling: Filling) -> Float32[np.ndarray, "H W"]:
    """Return a copy of a frame with its invalid pixels filled."""
    image = np.where(depth_mm <= filling.range_mm, depth_mm, np.float32(0))
    fill_holes(image, filling.way)
    return image


def filling_of(rng: np.random.Generator, hand_mm: float | None) -> Filling:
    """Draw a hole filling of a frame whose first hand is at this depth. None is a frame without hands."""
    near = rng.random() < _NEAR_SHARE
    low, high = np.log(_RANGE_MM if hand_mm is None else _BEHIND_HAND_MM)
    end_mm = (hand_mm or 0.0) + float(np.exp(rng.uniform(low, high)))
    return Filling(int(rng.choice(WAYS)), end_mm if near else np.inf)


class _View(NamedTuple):
    """One frame before it is rendered."""

    picture: Picture
    camera: Pinhole
    """Camera of the thinned view."""
    corner: tuple[int, int]
    """First column and row of the view in the thinned whole image."""
    rows: int
    """Number of rows that are not cut off."""
    hair_lost: bool
    filling: Filling | None
    """None leaves invalid pixels as they are."""


class SyntheticScenes:
    """The thinned frames of a configuration, numbered from 0 without end.

    An instance must not be used by two threads at once.
    """

    def __init__(self, config: SceneConfig) -> None:
        self.config = config
        self._hands = SyntheticHands(config.hands)
        preset = self._hands.preset
        self.stride = stride_of(preset.pinhole)
        self._thinned = thinned_camera(preset.pinhole, self.stride)
        self._size = (preset.width_px // self.stride, preset.height_px // self.stride)
        self._sensor = _thinned_sensor(noise.SENSORS[config.hands.camera], self.stride)

    def draw(self, indices: Sequence[int] | Int64[np.ndarray, "B"]) -> Scenes:
        """Render these frames.

        Raises:
            IndexError: an index is negative.
            ValueError: no index is given.
        """
        if not len(indices):
            raise ValueError("No frames requested: give at least one index.")
        views = [self._view(int(index)) for index in indices]
        grid = self._grid(views)
        hit = cast(stack([view.picture.mesh for view in views]), grid.x, grid.y)
        for b, view in enumerate(views):
            if view.picture.skin is not None:
                rays = grid.x[b], grid.y[b]
                draw_triangles(view.picture.skin, *rays, hit.depth_mm[b], hit.patch[b], HAND_PATCH)
        owner = owners()[hit.patch]
        hair = np.array([view.hair_lost for view in views])
        depth = np.where((owner == HAIR) & hair[:, None, None], np.float32(0), hit.depth_mm)
        strength = np.array([view.picture.strength for view in views])
        if strength.any():
            seeds = np.array([view.picture.noise_seed for view in views])
            depth = noise.apply_crops(depth, grid, self._sensor, seeds, strength)
        for image, view in zip(depth, views, strict=True):
            image[view.rows :] = 0
        scenes = self._labelled(depth, owner, views)
        for image, view in zip(scenes.depth_mm, views, strict=True):
            if view.filling is not None:
                image[: view.rows] = filled(image[: view.rows], view.filling)
        return scenes

    def _view(self, index: int) -> _View:
        """Draw the contents of a scene, and the part of it that the image shows."""
        config = self.config
        rng = np.random.default_rng([config.hands.seed, 2, index])
        empty, person, face = rng.random(3) < (config.empty, _PERSON_SHARE, _FACE_SHARE)
        picture = self._hands.picture(index)
        if empty:
            picture = self._with_person(index) if person else picture
            face = face and _has_person(picture)
            assert picture.hanging_mm is not None
            bare = without_hands(picture.mesh.as_batch(), picture.hanging_mm[None])
            picture = picture._replace(mesh=bare.take(0), hands=(), skin=None)
        away = float(np.exp(rng.uniform(*np.log(_FACE_MM)))) if empty and face else None
        picture = _moved(picture, rng, away)
        # The view lies anywhere within the whole image, and may be shifted beyond its borders. A view of a face has the
        # head somewhere inside.
        sides = np.array([config.width_px, config.height_px])
        reach = (_ASTRAY if rng.random() < _ASTRAY_SHARE else _JITTER) * sides
        spare = np.array(self._size) - sides
        corner = rng.uniform(np.minimum(0, spare) - reach, np.maximum(0, spare) + reach)
        if away is not None:
            head = project(_head(picture), self._thinned)[:2]
            corner = head - rng.uniform(0.1, 0.9, 2) * sides
        left, top = np.round(np.clip(corner, -10_000, 10_000)).astype(int).tolist()
        camera = self._thinned._replace(cx_px=self._thinned.cx_px - left, cy_px=self._thinned.cy_px - top)
        rows = config.height_px - (_CUT_PX if rng.random() < _CUT_SHARE else 0)
        hair_lost = bool(rng.random() < _HAIR_LOST_SHARE)
        # Filling has a generator of its own, so that the frames are otherwise the same as without it.
        filling_rng = np.random.default_rng([config.hands.seed, 4, index])
        filling = None
        if filling_rng.random() < config.filled:
            filling = filling_of(filling_rng, float(picture.hands[0][0][:, 2].mean()) if picture.hands else None)
        return _View(picture, camera, (left, top), rows, hair_lost, filling)

    def _with_person(self, index: int) -> Picture:
        """Return the first of a few pictures that shows a person, or the last of them.

        The search starts at the picture of the frame and stays in its block.
        """
        picture = self._hands.picture(index)
        for other in range(index + 1, index + _PEOPLE_TRIED):
            if _has_person(picture):
                break
            picture = self._hands.picture(index // BLOCK * BLOCK + other % BLOCK)
        return picture

    def _grid(self, views: Sequence[_View]) -> CropGrid:
        """Return the rays of the views. They are the rays of crops that show every `stride`-th pixel."""
        across = np.arange(self.config.width_px)
        down = np.arange(self.config.height_px)
        cameras = np.array([view.camera for view in views])
        corner = np.array([view.corner for view in views])
        n = len(views)
        first = self.stride // 2
        x = (across - cameras[:, 2:3]) / cameras[:, 0:1]
        y = (down - cameras[:, 3:4]) / cameras[:, 1:2]
        columns = self.stride * (across + corner[:, [0]]) + first
        rows = self.stride * (down + corner[:, [1]]) + first
        return CropGrid(
            x=np.ascontiguousarray(x),
            y=np.ascontiguousarray(y),
            column_px=columns.astype(np.int32),
            row_px=rows.astype(np.int32),
            column_seen=np.ones((n, len(across)), np.bool_),
            row_seen=np.ones((n, len(down)), np.bool_),
            scale=np.full(n, 1 / self.stride),
            focal_px=np.full(n, self._hands.camera.fx_px),
            front_mm=np.zeros(n),
            back_mm=np.full(n, np.inf),
        )

    def _labelled(
        self, depth: Float32[np.ndarray, "B H W"], owner: Int8[np.ndarray, "B H W"], views: Sequence[_View]
    ) -> Scenes:
        """Label all hands of the rendered views."""
        n = len(views)
        uvd = np.ones((n, 2, 3), np.float32)
        side = np.ones((n, 2), np.float32)
        length = np.ones((n, 2), np.float32)
        state = np.full((n, 2), NONE, np.int8)
        for b, view in enumerate(views):
            for k, (joints_mm, hand_side) in enumerate(view.picture.hands):
                uvd[b, k] = project(joints_mm.mean(axis=0), view.camera)
                side[b, k] = hand_side
                length[b, k] = joints_length(joints_mm[None], self._hands.skeleton)[0]
                pixels = np.count_nonzero((owner[b] == k + 1) & (depth[b] > 0))
                state[b, k] = self._state(view, k, uvd[b, k], int(pixels))
        return Scenes(depth, tuple(view.camera for view in views), uvd, side, length, state)

    def _state(self, view: _View, hand: int, uvd: Float32[np.ndarray, "3"], pixels: int) -> int:
        """Return the state of a hand from its place and the number of pixels that show it."""
        part = SPHERES[("hand", "second_hand")[hand]]
        spheres = project(view.picture.mesh.centers_mm[part][:HAND_SPHERES], view.camera)
        size = (self.config.width_px, view.rows)
        inside = np.all((spheres[:, :2] >= 0) & (spheres[:, :2] < size), axis=1).mean()
        surface = pixels * float(uvd[2]) ** 2 / (view.camera.fx_px * view.camera.fy_px)
        within = bool(np.all((uvd[:2] >= 0) & (uvd[:2] < size)))
        if within and inside >= _PRESENT_SHARE and surface >= PRESENT_MM2:
            return PRESENT
        return UNCLEAR if inside >= _UNCLEAR_SHARE and surface >= _UNCLEAR_MM2 else NONE


def _moved(picture: Picture, rng: np.random.Generator, face_mm: float | None) -> Picture:
    """Turn a picture about the camera's axis and scale it. With `face_mm`, move its head to that depth."""
    angle = _ROLL_RAD * rng.standard_normal()
    scale = float(np.exp(_SCALE * rng.uniform(-1, 1)))
    turn = scale * np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    hands = tuple(((joints_mm @ turn).astype(np.float32), side) for joints_mm, side in picture.hands)
    # Hidden parts stay at the camera with a radius of 1 mm.
    hidden = np.all(picture.mesh.centers_mm == 0, axis=1)
    centers = picture.mesh.centers_mm @ turn
    radii = np.where(hidden, 1.0, scale * picture.mesh.radii_mm)
    skin = picture.skin and picture.skin._replace(vertices_mm=picture.skin.vertices_mm @ turn)
    moved = picture._replace(mesh=SphereMesh(centers, radii, picture.mesh.topology), hands=hands, skin=skin)
    if face_mm is None:
        return moved
    head = _head(moved)
    if head[2] <= 0:
        return moved
    centers = np.where(hidden[:, None], 0.0, centers + (face_mm / head[2] - 1) * head)
    return moved._replace(mesh=SphereMesh(centers, radii, picture.mesh.topology))


def _has_person(picture: Picture) -> bool:
    return bool(picture.mesh.centers_mm[SPHERES["torso"].start].any())


def _head(picture: Picture) -> Float[np.ndarray, "3"]:
    return picture.mesh.centers_mm[SPHERES["head"]].mean(axis=0)


def _thinned_sensor(sensor: noise.NoiseModel, stride: int) -> noise.NoiseModel:
    """Adapt a sensor to every `stride`-th pixel.

    Among the thinned pixels next to an edge, only one in `stride` is next to the edge in the whole image too. The
    chances of effects at edges are reduced accordingly.
    """
    return replace(
        sensor,
        edge_loss=sensor.edge_loss / stride,
        flying=sensor.flying / stride,
        smoothing=sensor.smoothing / stride,
        edge_mm=sensor.edge_mm * min(stride, 2),
    )
