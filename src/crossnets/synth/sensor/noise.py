"""Noise models of depth sensors, and the parameters of each camera preset.

Sources of the equations, and of numbers where stated:

- Khoshelham & Elberink 2012, "Accuracy and resolution of Kinect depth data": depth is f b / disparity, so the step and
  the deviation of depth grow with the square of the depth.
- Nguyen, Izadi, Lovell 2012, "Modeling Kinect sensor noise": axial noise grows with distance and with
  (theta / (pi/2 - theta))^2 of the slope's angle theta. Lateral noise is 0.8 pixels.
- Handa, Whelan, McDonald, Davison 2014, "A benchmark for RGB-D visual odometry": each pixel reads a place nearby. Noise
  is then added to the disparity, which is rounded to eighths of a pixel.
- Tölgyessy et al. 2021, "Evaluation of the Azure Kinect": noise of time of flight, flying pixels, multi-path.
- Grunnet-Jepsen et al., "Tuning depth cameras for best performance" (Intel): z^2 subpixel / (f b), about 0.08 pixels.

The effects are applied in this order: lateral jitter and fattened edges, lost and flying pixels, smoothing, axial
noise, disparity, range and rounding, shadow of the second view, speckle removal.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int

from crossnets.geometry.camera import camera_named
from crossnets.geometry.crop import CROP_PX
from crossnets.synth.casting.raster import CropGrid, cast_depth, clip_to_cubes, crop_grid
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.sensor import disturb
from crossnets.types import Pinhole


@dataclass(frozen=True, kw_only=True)
class NoiseModel:
    """Noise of one sensor. Zero switches an effect off. Pixels are those of the camera's image, also for crops."""

    kind: Literal["structured light", "time of flight", "stereo"]
    """Type of the sensor, for information only. All types use the same steps."""
    axial_mm: float = 0.0
    """Deviation of depth at the camera."""
    axial_per_m2_mm: float = 0.0
    """Growth of that deviation with the square of the depth, in mm/m^2. Time of flight: light fades with distance."""
    slope_mm: float = 0.0
    """Growth of that deviation with the slope: factor of (theta / (pi/2 - theta))^2, which is 1 at 45 degrees."""
    correlated: float = 0.0
    """Share of the noise's variance in smooth bumps, 0 to 1. The remaining noise is independent from pixel to pixel."""
    correlation_px: float = 4.0
    """Distance between bumps."""
    smoothing: float = 0.0
    """Share of the mean of the four neighbours, 0 to 1. It models matching windows, and multi-path that rounds
    corners."""
    lateral_px: float = 0.0
    """Deviation of the place that a pixel reads."""
    fattening_px: float = 0.0
    """Largest distance to which foreground spreads over its edge."""
    edge_mm: float = 25.0
    """A larger step of depth between neighbours is an edge."""
    edge_loss: float = 0.0
    """Chance that a pixel at an edge is lost."""
    flying: float = 0.0
    """Chance that a pixel at an edge floats between the two surfaces."""
    flying_mm: float = 0.0
    """Largest distance at which flying pixels float behind the nearer surface."""
    grazing_tan: float = np.inf
    """Tangent of the slope's angle at which pixels are lost: none below 3/4 of it, all above 5/4."""
    baseline_mm: float = 0.0
    """Distance between camera and projector or between two cameras. Depth is focal length times this over disparity."""
    disparity_noise_px: float = 0.0
    """Deviation of the disparity."""
    disparity_step_px: float = 0.0
    """Unit to which disparity is rounded."""
    shadow_mm: float = 0.0
    """Place of the projector or second camera along x, usually +-`baseline_mm`. Surfaces hidden from it are lost."""
    min_mm: float = 0.0
    """Nearer surfaces are lost."""
    max_mm: float = np.inf
    """Farther surfaces are lost."""
    unit_mm: float = 0.0
    """Unit to which depth is rounded."""
    speckle_px: float = 0.0
    """Connected surfaces of fewer pixels than this are removed."""
    speckle_mm: float = 20.0
    """Step of depth that separates surfaces in that removal."""

    def __post_init__(self) -> None:
        shares = ("correlated", "smoothing", "edge_loss", "flying")
        for name in ("correlation_px", "speckle_mm", "edge_mm", "grazing_tan", "max_mm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive.")
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if field.name != "shadow_mm" and not 0 <= value <= (1 if field.name in shares else np.inf):
                raise ValueError(f"{field.name}={value} must be 0 {'to 1' if field.name in shares else 'or more'}.")
        if self.baseline_mm == 0 and (self.disparity_noise_px or self.disparity_step_px):
            raise ValueError(
                "Disparity noise or steps need a positive baseline_mm, the distance between camera and projector."
            )


_AMOUNTS = (
    "axial_mm",
    "axial_per_m2_mm",
    "slope_mm",
    "lateral_px",
    "fattening_px",
    "flying_mm",
    "disparity_noise_px",
    "disparity_step_px",
    "shadow_mm",
    "unit_mm",
    "speckle_px",
)
"""Fields that are multiplied by the strength of the noise. `_SHARES` are multiplied too, and limited to 1."""
_SHARES = ("smoothing", "edge_loss", "flying")
_RECORD = np.dtype([(field.name, np.float64) for field in fields(NoiseModel)[1:]])

_KINECT_V1 = NoiseModel(
    kind="structured light",
    # Fitted to one NYU frame by the same statistics as `_SR300`, with the values of this model in brackets: residual
    # 0.60 mm at 750 mm (0.64), correlation 0.34 and 0.00 (0.20, 0.02), raggedness 1.20 (1.18). Nguyen et al. measure
    # 0.1 mm for the slope, and 0.8 pixels sideways at edges.
    slope_mm=0.05,
    correlated=0.9,
    correlation_px=3.0,
    smoothing=0.4,
    lateral_px=0.15,
    edge_loss=0.05,
    grazing_tan=4.0,
    baseline_mm=75.0,  # Khoshelham & Elberink
    disparity_noise_px=0.03,
    disparity_step_px=0.125,
    shadow_mm=75.0,
    min_mm=400.0,
    max_mm=4000.0,
    unit_mm=1.0,
    speckle_px=60.0,
)
_SR300 = NoiseModel(
    kind="structured light",
    # Fitted to the 19 frames of an SR305 in ../shared/data, with the values of this model in brackets: residual of
    # quadratic fits in 11x11 windows 0.090 mm (0.096), its correlation one and two pixels apart 0.52 and 0.22 (0.51,
    # 0.21), raggedness of outlines 1.16 (1.17).
    axial_per_m2_mm=0.25,
    slope_mm=0.02,
    correlated=0.95,
    correlation_px=4.5,
    smoothing=0.5,
    lateral_px=0.1,
    edge_loss=0.02,
    grazing_tan=3.5,
    # The baseline is estimated from the housing. Only the shadow uses it.
    baseline_mm=47.0,
    shadow_mm=47.0,
    min_mm=150.0,
    max_mm=1500.0,
    unit_mm=0.125,
    speckle_px=80.0,
)
_SENZ3D = NoiseModel(
    kind="time of flight",
    # Fitted to CVAR (Oberweger et al. 2016) by the same statistics: residual 1.6 mm at 350 mm and 1.9 mm at 525 mm,
    # correlation 0.43 and 0.07, raggedness 1.12.
    axial_mm=1.5,
    axial_per_m2_mm=2.0,
    slope_mm=0.25,
    correlated=0.8,
    correlation_px=2.5,
    smoothing=0.5,
    lateral_px=0.1,
    edge_loss=0.03,
    flying=0.1,
    flying_mm=60.0,
    grazing_tan=6.0,
    min_mm=120.0,
    max_mm=1500.0,
    unit_mm=1.0,
    speckle_px=15.0,
)
_AZURE = NoiseModel(
    kind="time of flight",
    axial_mm=0.5,
    axial_per_m2_mm=0.6,  # Tölgyessy et al. measure deviations near 1 mm below 1.5 m
    slope_mm=0.4,
    correlated=0.2,
    correlation_px=3.0,
    smoothing=0.3,
    lateral_px=0.1,
    edge_loss=0.2,  # the device itself invalidates most flying pixels
    flying=0.1,
    flying_mm=80.0,
    grazing_tan=5.0,
    min_mm=250.0,
    max_mm=3800.0,
    unit_mm=1.0,
    speckle_px=20.0,
)
_D400 = NoiseModel(
    kind="stereo",
    slope_mm=0.2,
    correlated=0.85,
    correlation_px=8.0,
    smoothing=0.6,
    lateral_px=0.2,
    fattening_px=2.5,
    edge_loss=0.05,
    grazing_tan=4.0,
    baseline_mm=55.0,
    disparity_noise_px=0.08,  # Intel
    disparity_step_px=1 / 32,
    shadow_mm=55.0,  # depth is seen from the left camera, and the second camera is to its right
    min_mm=160.0,
    max_mm=6000.0,
    unit_mm=1.0,
    speckle_px=100.0,
)

SENSORS: dict[str, NoiseModel] = {
    "nyu-kinect": _KINECT_V1,
    "icvl-senz3d": _SENZ3D,
    "msra-senz3d": _SENZ3D,
    "cvar-senz3d": _SENZ3D,
    "realsense-sr300": replace(_SR300, unit_mm=1.0),
    "ho3d-sr300": replace(_SR300, unit_mm=0.12498664727900177),
    "realsense-sr305": _SR300,
    "realsense-d415": _D400,
    "dexycb-d415": _D400,
    "realsense-d435": replace(_D400, baseline_mm=50.0, shadow_mm=50.0, disparity_noise_px=0.1),
    "realsense-d455": replace(_D400, baseline_mm=95.0, shadow_mm=95.0, min_mm=250.0),
    "h2o-azure-kinect": _AZURE,
    "azure-kinect-nfov": _AZURE,
    "azure-kinect-wfov": replace(_AZURE, axial_per_m2_mm=0.9),
}
"""Noise models by camera preset. Some presets have no noise model. Numbers without a source are our estimates. Use
`strength` to vary them."""


def sensor_of(camera: str) -> NoiseModel:
    """Return the noise model of a camera preset.

    Raises:
        ValueError: the camera is unknown, or it cannot be rendered because its image size or noise model is missing.
    """
    if not camera_named(camera).width_px or camera not in SENSORS:
        raise ValueError(
            f"Cannot render the camera {camera}, because its image size or noise model is missing. "
            f"Known: {', '.join(SENSORS)}."
        )
    return SENSORS[camera]


def apply(
    depth_mm: Float32[np.ndarray, "H W"], camera: Pinhole, model: NoiseModel, seed: int, strength: float = 1.0
) -> Float32[np.ndarray, "H W"]:
    """Turn an exact image into the sensor's image. Missing depth is 0. The same seed gives the same image."""
    height, width = depth_mm.shape
    out = np.empty((1, height, width), np.float32)
    disturb.disturb_frames(
        np.ascontiguousarray(depth_mm)[None],
        np.arange(width, dtype=np.int32)[None],
        np.arange(height, dtype=np.int32)[None],
        np.ones(1),
        np.array([camera.fx_px]),
        _records([model], np.array([strength])),
        _seeds(np.array([seed])),
        out,
    )
    return out[0]


def apply_crops(
    depth_mm: Float32[np.ndarray, "B H W"],
    grid: CropGrid,
    models: NoiseModel | Sequence[NoiseModel],
    seeds: Int[np.ndarray, "B"],
    strength: float | Float[np.ndarray, "B"] = 1.0,
) -> Float32[np.ndarray, "B H W"]:
    """Like `apply`, for crops of `raster.cast` that are not yet clipped to their cubes.

    Args:
        depth_mm: Exact depth of the rays of `grid`.
        grid: Pixel of the image that each pixel of the crops shows. Pixels that show the same one have the same noise.
        models: One model for all crops, or one for each crop.
        seeds: Seed of each crop. It alone determines the random numbers of a crop.
        strength: Factor of every effect, for all crops or for each crop.
    """
    count = len(depth_mm)
    listed = [models] * count if isinstance(models, NoiseModel) else list(models)
    out = np.empty_like(depth_mm)
    records = _records(listed, np.array(np.broadcast_to(strength, count), np.float64))
    disturb.disturb_frames(
        depth_mm, grid.column_px, grid.row_px, grid.scale, grid.focal_px, records, _seeds(seeds), out
    )
    return out


def render_noisy_crops(
    meshes: SphereMesh,
    cameras: Pinhole | Sequence[Pinhole],
    centers_mm: Float[np.ndarray, "B 3"],
    cube_mm: Float[np.ndarray, "B"],
    models: NoiseModel | Sequence[NoiseModel],
    seeds: Int[np.ndarray, "B"],
    strength: float | Float[np.ndarray, "B"] = 1.0,
    size_px: int = CROP_PX,
    *,
    image_px: tuple[int, int] | None = None,
) -> Float32[np.ndarray, "B S S"]:
    """Like `raster.render_crops`, with the noise of a sensor.

    The arguments are those of `raster.render_crops` and `apply_crops`.
    """
    grid = crop_grid(cameras, centers_mm, cube_mm, size_px, image_px=image_px)
    depth = cast_depth(meshes, grid.x, grid.y)
    depth = apply_crops(depth, grid, models, seeds, strength)
    clip_to_cubes(depth, grid)
    return depth


def _records(models: Sequence[NoiseModel], strengths: Float[np.ndarray, "B"]) -> np.ndarray:
    """Convert models to the records of the kernels, with every effect multiplied by its strength.

    A strength of 0 gives an exact sensor.
    """
    wrong = strengths[~(np.isfinite(strengths) & (strengths >= 0))]
    if wrong.size:
        raise ValueError(f"strength={wrong[0]} must be 0 or more.")
    # A batch has many crops but few models, and `astuple` is slow. Each model is converted once.
    converted = {key: astuple(model)[1:] for key, model in {id(model): model for model in models}.items()}
    records = np.array([converted[id(model)] for model in models], _RECORD)
    for name in (*_AMOUNTS, *_SHARES):
        records[name] *= strengths
    for name in _SHARES:
        records[name] = np.minimum(records[name], 1.0)
    records["min_mm"] *= np.minimum(strengths, 1.0)
    records["grazing_tan"] /= np.where(strengths > 0, strengths, 1.0)
    records[strengths == 0] = astuple(NoiseModel(kind="stereo"))[1:]
    return records


def _seeds(seeds: Int[np.ndarray, "B"]) -> np.ndarray:
    return np.asarray(seeds).astype(np.int64).astype(np.uint64)
