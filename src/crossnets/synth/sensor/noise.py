"""Noise models of depth sensors by type of sensor, and the numbers of each camera preset.

Sources of the forms, and of numbers where said:

- Khoshelham & Elberink 2012, "Accuracy and resolution of Kinect depth data": depth is f b / disparity, so the step and
  the deviation of depth grow with its square.
- Nguyen, Izadi, Lovell 2012, "Modeling Kinect sensor noise": axial noise grows with distance and with
  (theta / (pi/2 - theta))^2 of the slope's angle theta; lateral noise is 0.8 pixels.
- Handa, Whelan, McDonald, Davison 2014, "A benchmark for RGB-D visual odometry": each pixel reads a place nearby, then
  disparity is disturbed and rounded to eighths of a pixel.
- Tölgyessy et al. 2021, "Evaluation of the Azure Kinect": noise of time of flight, flying pixels, multi-path.
- Grunnet-Jepsen et al., "Tuning depth cameras for best performance" (Intel): z^2 subpixel / (f b), about 0.08 pixels.

The effects come in this order: lateral jitter and fattened edges; lost and flying pixels; smoothing; axial noise;
disparity; range and rounding; shadow of the second view; speckle removal.
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
    """One sensor. Zero switches an effect off; pixels are those of the camera's image, also for crops."""

    kind: Literal["structured light", "time of flight", "stereo"]
    """Type of the sensor, for readers. All types take the same steps."""
    axial_mm: float = 0.0
    """Deviation of depth at the camera."""
    axial_per_m2_mm: float = 0.0
    """Growth of that deviation with the square of the depth in metres: mm/m^2. Time of flight: fading light."""
    slope_mm: float = 0.0
    """Growth with slope: times (theta / (pi/2 - theta))^2, 1 at 45 degrees."""
    correlated: float = 0.0
    """Share, 0 to 1, of the noise's variance that is smooth bumps. The rest is independent from pixel to pixel."""
    correlation_px: float = 4.0
    """Distance of the bumps."""
    smoothing: float = 0.0
    """Share, 0 to 1, of the mean of the four neighbours: matching windows, and multi-path that rounds corners."""
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
    """Tangent of the slope's angle above which pixels are lost: none below 3/4 of it, all above 5/4."""
    baseline_mm: float = 0.0
    """Between camera and projector, or the two cameras; depth is focal length times this over disparity."""
    disparity_noise_px: float = 0.0
    """Deviation of the disparity."""
    disparity_step_px: float = 0.0
    """Disparity is rounded to this."""
    shadow_mm: float = 0.0
    """Place of the projector or second camera along x. Surfaces that it does not see are lost. Usually
    +-`baseline_mm`."""
    min_mm: float = 0.0
    """Nearer surfaces are lost."""
    max_mm: float = np.inf
    """Farther surfaces are lost."""
    unit_mm: float = 0.0
    """Depth is rounded to this."""
    speckle_px: float = 0.0
    """Connected surfaces of fewer pixels are removed."""
    speckle_mm: float = 20.0
    """Step of depth that separates surfaces for that."""

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
            raise ValueError("A disparity needs baseline_mm, the distance between camera and projector.")


_AMOUNTS = (
    "axial_mm", "axial_per_m2_mm", "slope_mm", "lateral_px", "fattening_px", "flying_mm", "disparity_noise_px",
    "disparity_step_px", "shadow_mm", "unit_mm", "speckle_px",
)  # fmt: skip
_SHARES = ("smoothing", "edge_loss", "flying")
_RECORD = np.dtype([(field.name, np.float64) for field in fields(NoiseModel)[1:]])

_KINECT_V1 = NoiseModel(
    kind="structured light",
    # Fitted to one NYU frame as below: residual 0.60 mm at 750 mm (here 0.64), correlation 0.34 and 0.00 (0.20, 0.02),
    # raggedness 1.20 (1.18). Nguyen et al. measure 0.1 mm for the slope, and 0.8 pixels sideways at edges.
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
    # Fitted to the 19 frames of an SR305 in ../shared/data: residual of quadratic fits in 11x11 windows 0.090 mm (here
    # 0.096), its correlation one and two pixels apart 0.52 and 0.22 (0.51, 0.21), raggedness of outlines 1.16 (1.17).
    axial_per_m2_mm=0.25,
    slope_mm=0.02,
    correlated=0.95,
    correlation_px=4.5,
    smoothing=0.5,
    lateral_px=0.1,
    edge_loss=0.02,
    grazing_tan=3.5,
    baseline_mm=47.0,  # about, from the housing; only the shadow uses it
    shadow_mm=47.0,
    min_mm=150.0,
    max_mm=1500.0,
    unit_mm=0.125,
    speckle_px=80.0,
)
_SENZ3D = NoiseModel(
    kind="time of flight",
    # Fitted to CVAR (Oberweger et al. 2016) by the same numbers: residual 1.6 mm at 350 mm and 1.9 at 525, correlation
    # 0.43 and 0.07, raggedness 1.12.
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
    shadow_mm=55.0,  # the depth is of the left camera, the second is to its right
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
    "realsense-sr305": _SR300,
    "realsense-d415": _D400,
    "realsense-d435": replace(_D400, baseline_mm=50.0, shadow_mm=50.0, disparity_noise_px=0.1),
    "realsense-d455": replace(_D400, baseline_mm=95.0, shadow_mm=95.0, min_mm=250.0),
    "azure-kinect-nfov": _AZURE,
    "azure-kinect-wfov": replace(_AZURE, axial_per_m2_mm=0.9),
}
"""One for every camera preset. Numbers without a source are our estimates: use `strength` to vary them."""


def sensor_of(camera: str) -> NoiseModel:
    """The noise model of a camera preset that can be rendered: one with an image size.

    Raises:
        ValueError: there is no such camera, or it cannot be rendered.
    """
    if not camera_named(camera).width_px or camera not in SENSORS:
        raise ValueError(
            f"The camera {camera} has no image size or no noise model, so it cannot be rendered. "
            f"Known: {', '.join(SENSORS)}."
        )
    return SENSORS[camera]


def apply(
    depth_mm: Float32[np.ndarray, "H W"], camera: Pinhole, model: NoiseModel, seed: int, strength: float = 1.0
) -> Float32[np.ndarray, "H W"]:
    """The image that the sensor gives of an ideal one; 0 is nothing seen. The same seed gives the same image."""
    height, width = depth_mm.shape
    out = np.empty((1, height, width), np.float32)
    disturb.disturb_serial(
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
    *,
    parallel: bool = False,
) -> Float32[np.ndarray, "B H W"]:
    """As `apply`, for crops of `raster.cast` that are not yet clipped to their cubes.

    Args:
        depth_mm: Ideal depth of the rays of `grid`.
        grid: Says which pixel of the image each pixel shows; such as show the same one carry the same noise.
        models: One for all, or one for each crop.
        seeds: Of each crop; a crop's noise depends on nothing else.
        strength: Factor of every effect, for all or for each crop.
        parallel: As of `raster.cast`.
    """
    count = len(depth_mm)
    listed = [models] * count if isinstance(models, NoiseModel) else list(models)
    out = np.empty_like(depth_mm)
    kernel = disturb.disturb_parallel if parallel else disturb.disturb_serial
    records = _records(listed, np.array(np.broadcast_to(strength, count), np.float64))
    kernel(depth_mm, grid.column_px, grid.row_px, grid.scale, grid.focal_px, records, _seeds(seeds), out)
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
    parallel: bool = False,
) -> Float32[np.ndarray, "B S S"]:
    """`raster.render_crops` through a sensor; arguments as there and of `apply_crops`."""
    grid = crop_grid(cameras, centers_mm, cube_mm, size_px, image_px=image_px)
    depth = cast_depth(meshes, grid.x, grid.y, parallel=parallel)
    depth = apply_crops(depth, grid, models, seeds, strength, parallel=parallel)
    clip_to_cubes(depth, grid)
    return depth


def _records(models: Sequence[NoiseModel], strengths: Float[np.ndarray, "B"]) -> np.ndarray:
    """The models as the kernels read them, every effect times its strength; 0 is an ideal sensor."""
    wrong = strengths[~(np.isfinite(strengths) & (strengths >= 0))]
    if wrong.size:
        raise ValueError(f"strength={wrong[0]} must be 0 or more.")
    whole = {key: astuple(model)[1:] for key, model in {id(model): model for model in models}.items()}
    records = np.array([whole[id(model)] for model in models], _RECORD)
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
