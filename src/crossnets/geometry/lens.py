"""Lenses that distort: pixels to rays and back, and the image that a camera without distortion would take.

The estimator needs crops without distortion. Undistorting each image would take 0.2 to 0.3 ms for 640 x 480 pixels.
Instead, a table is computed once per camera. It contains, for each pixel of the ideal image, the pixel of the real
image. A crop looks up only its own 128 x 128 pixels, which takes 0.03 ms. The ideal image is never computed, so it may
cover the whole field of view, and hands at the edge of the image are kept. The detector tolerates a small change of
shape and therefore searches the real image. Its peaks become rays through the lens. Readers of data sets and the live
page need whole images and call `ideal_image`.

Lookups take the nearest pixel. Depth stays exact, and a pixel moves by at most half a pixel in x and y, in addition to
the same rounding in the crop. `scripts/lens_error.py` measures the effect on the joints (docs/runtime.md).
"""

import functools
import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, UInt16

from crossnets.types import Lens, LensCamera, Pinhole

MOST_SLOPE = 1.8
"""Rays at more than 61 degrees from the axis are left out, because the ideal image grows without limit towards 90."""
_SAMPLES = np.linspace(0.0, 8.0, 8001)
"""Slopes of rays at which the radial part is examined."""
_ITERATIONS = 30
_CONVERGED_PX = 1e-3
"""Largest distance between a pixel and the pixel of its ray. It is far below the resolution of any image."""
_STEP = 1e-6
_EDGE_PX = 0.5
_MOST_PIXELS = 1 << 23
"""8.4 million, such as 3840 x 2160. The limit is needed because a small file may state any size."""
_MOST_IDEAL_PIXELS = 1 << 25
"""A wide lens covers four times as many pixels without distortion."""
_STRIP_PIXELS = 1 << 20


class LensTable(NamedTuple):
    """Lookup tables of one camera. `lens_table` computes and caches them."""

    ideal: Pinhole
    """A camera without distortion that covers the same field of view with the same focal lengths."""
    pixel: Int32[np.ndarray, "h w"]
    """Position of each pixel of the ideal image in the flattened real image. -1 if the real camera does not see it."""
    rays: Float32[np.ndarray, "H W 2"]
    """Slopes x/z and y/z of the ray of each pixel of the real camera. NaN beyond `MOST_SLOPE`."""


# --- coefficients ---


def lens_of(coefficients: object, *, modified: bool = False) -> Lens | None:
    """The lens with these coefficients. None if all of them are zero.

    Args:
        coefficients: 4, 5 or 8 numbers in OpenCV's order: k1, k2, p1, p2, then k3, then k4, k5, k6.
        modified: The same as in `Lens`.

    Raises:
        ValueError: there are more or fewer numbers, or one is not finite.
    """
    try:
        numbers = np.asarray(coefficients, np.float64).reshape(-1)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.size not in (4, 5, 8) or not np.isfinite(numbers).all():
        raise ValueError(
            f"Found the lens coefficients {coefficients!r}. Expected 4, 5 or 8 finite numbers in OpenCV's order: k1, "
            "k2, p1, p2[, k3[, k4, k5, k6]]."
        )
    return Lens(*numbers.tolist(), modified=modified) if numbers.any() else None


def coefficients_of(lens: Lens) -> list[float]:
    """The eight coefficients in OpenCV's order."""
    return list(lens[:8])


# --- the model ---


def distort(slopes: Float[np.ndarray, "*N 2"], lens: Lens) -> Float64[np.ndarray, "*N 2"]:
    """Convert slopes x/z and y/z of rays to their places in the image, in units of the focal length.

    The model is valid up to the slope at which it folds the image over. Beyond it the distortion is constant, so that
    points outside the field of view stay outside the image.
    """
    return _distort(np.asarray(slopes, np.float64), lens, _fold(lens)[0])


def undistort(places: Float[np.ndarray, "*N 2"], lens: Lens) -> Float64[np.ndarray, "*N 2"]:
    """Invert `distort` by Newton's method, starting from the inverse of the radial part. NaN if it does not
    converge."""
    wanted = np.asarray(places, np.float64)
    fold, ends = _fold(lens)
    radius = np.linalg.norm(wanted, axis=-1, keepdims=True)
    samples = _SAMPLES[: int(np.searchsorted(_SAMPLES, fold, "right"))]
    start = np.interp(radius, samples * _radial(samples**2, lens), samples)
    start = np.where(radius > ends, radius * (fold / ends), start)
    found = wanted * np.divide(start, radius, out=np.ones_like(radius), where=radius > 0)
    error = _distort(found, lens, fold) - wanted
    for _ in range(_ITERATIONS):
        if not np.abs(error).max(initial=0) > 1e-12:
            break
        # The derivatives are finite differences. Their error slows only the last step.
        along_x, along_y = ((_distort(found + step, lens, fold) - wanted - error) / _STEP for step in _STEP * np.eye(2))
        determinant = along_x[..., 0] * along_y[..., 1] - along_y[..., 0] * along_x[..., 1]
        step_x = (along_y[..., 1] * error[..., 0] - along_y[..., 0] * error[..., 1]) / determinant
        step_y = (along_x[..., 0] * error[..., 1] - along_x[..., 1] * error[..., 0]) / determinant
        found = found - np.stack([step_x, step_y], axis=-1)
        error = _distort(found, lens, fold) - wanted
    return np.where((np.abs(error) < 1e-7).all(axis=-1, keepdims=True), found, np.nan)


def _radial(squared: Float64[np.ndarray, "*N"], lens: Lens) -> Float64[np.ndarray, "*N"]:
    """Radial factor of slopes, given the square of their length."""
    above = 1 + squared * (lens.k1 + squared * (lens.k2 + squared * lens.k3))
    below = 1 + squared * (lens.k4 + squared * (lens.k5 + squared * lens.k6))
    return np.asarray(above / below)


def _distort(slopes: Float64[np.ndarray, "*N 2"], lens: Lens, fold: float) -> Float64[np.ndarray, "*N 2"]:
    """Apply OpenCV's model (calib3d, "Camera Calibration and 3D Reconstruction") to slopes of at most `fold`."""
    length = np.linalg.norm(slopes, axis=-1)
    within = np.minimum(1.0, np.divide(fold, length, out=np.ones_like(length), where=length > 0))
    x, y = slopes[..., 0] * within, slopes[..., 1] * within
    squared = np.asarray(x * x + y * y)
    radial = _radial(squared, lens)
    u, v = x * radial, y * radial
    if lens.modified:
        x, y = u, v
    u = u + 2 * lens.p1 * x * y + lens.p2 * (squared + 2 * x * x)
    v = v + 2 * lens.p2 * x * y + lens.p1 * (squared + 2 * y * y)
    return np.stack([u / within, v / within], axis=-1)


@functools.lru_cache(maxsize=64)
def _fold(lens: Lens) -> tuple[float, float]:
    """Slope at which the radial part stops growing, and its place in the image."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shown = _SAMPLES * _radial(_SAMPLES**2, lens)
        stops = ~(np.diff(shown) > 0)
    last = int(np.argmax(stops)) if stops.any() else len(_SAMPLES) - 1
    return float(_SAMPLES[last]), float(shown[last])


# --- pixels of one camera ---


@functools.lru_cache(maxsize=16)
def lens_table(camera: LensCamera) -> LensTable:
    """Compute the lookup tables of a camera, which takes some tenths of a second. The result must not be changed.

    Raises:
        ValueError: the coefficients fold the image over inside the field of view, or have no inverse there. An image is
            too large, or all rays are beyond `MOST_SLOPE`.
    """
    pinhole = camera.pinhole
    width = camera.width_px
    height = camera.height_px
    if not (width > 0 and height > 0):
        raise ValueError(
            f"Found a camera with a lens and images of {width} x {height} pixels, expected the size of its images."
        )
    _check_size(width, height, _MOST_PIXELS, "image")
    focal_px, middle_px = np.array(pinhole).reshape(2, 2)
    _check_fold(camera)
    rays = np.empty((height, width, 2), np.float32)
    least_slopes = np.full(2, np.inf)
    most_slopes = np.full(2, -np.inf)
    for strip in _strips(height, width):
        # Rays are compared in float64 and stored in float32.
        found = _rays(camera, strip)
        found[np.linalg.norm(found, axis=-1) > MOST_SLOPE] = np.nan
        least_slopes = np.fmin(least_slopes, np.fmin.reduce(found, axis=(0, 1)))
        most_slopes = np.fmax(most_slopes, np.fmax.reduce(found, axis=(0, 1)))
        rays[strip] = found
    if not np.isfinite(least_slopes).all():
        raise ValueError(
            f"All {width} x {height} pixels of the camera {pinhole} see rays at more than "
            f"{math.degrees(math.atan(MOST_SLOPE)):.0f} degrees from its axis, which is outside of the image or at its "
            f"edge. {_ADVICE}"
        )
    least = np.floor(least_slopes * focal_px + middle_px)
    most = np.ceil(most_slopes * focal_px + middle_px)
    columns, rows = (most - least + 1).astype(int)
    _check_size(int(columns), int(rows), _MOST_IDEAL_PIXELS, "image without distortion")
    ideal = Pinhole(pinhole.fx_px, pinhole.fy_px, pinhole.cx_px - float(least[0]), pinhole.cy_px - float(least[1]))
    index = np.empty((rows, columns), np.int32)
    for strip in _strips(int(rows), int(columns)):
        ideal_px = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)[strip]), axis=-1) + least
        slopes = (ideal_px - middle_px) / focal_px
        nearest = np.floor(distort(slopes, camera.lens) * focal_px + middle_px + _EDGE_PX)
        seen = ((nearest >= 0) & (nearest < (width, height))).all(axis=-1)
        seen &= np.linalg.norm(slopes, axis=-1) <= MOST_SLOPE
        index[strip] = np.where(seen, nearest[..., 1] * width + nearest[..., 0], -1)
    return LensTable(ideal, index, rays)


def _strips(height: int, width: int) -> list[slice]:
    """Divide the rows of an image into strips of at most a million pixels, so that float64 needs little memory."""
    rows = max(1, _STRIP_PIXELS // width)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _rays(camera: LensCamera, strip: slice) -> Float64[np.ndarray, "h W 2"]:
    """Compute the slopes of the rays of some rows.

    Raises:
        ValueError: the coefficients cannot be inverted for some of their pixels.
    """
    focal_px, middle_px = np.array(camera.pinhole).reshape(2, 2)
    grid_px = np.stack(np.meshgrid(np.arange(camera.width_px), np.arange(strip.start, strip.stop)), axis=-1)
    places = (grid_px.astype(np.float64) - middle_px) / focal_px
    rays = undistort(places, camera.lens)
    error_px = np.abs(distort(rays, camera.lens) - places) * focal_px
    if not (error_px < _CONVERGED_PX).all():
        raise ValueError(
            f"The lens coefficients {coefficients_of(camera.lens)} cannot be inverted at "
            f"{(~(error_px < _CONVERGED_PX)).any(axis=-1).sum()} of {places.size // 2} pixels. {_ADVICE}"
        )
    return rays


def _check_size(width: int, height: int, most: int, what: str) -> None:
    """Reject an image whose lookup tables would take too much memory and time."""
    if width * height > most:
        raise ValueError(
            f"The camera has a lens, and its {what} would have {width} x {height} pixels, expected at most {most} in "
            "all. Undistort the images, and give their intrinsics without a lens."
        )


_ADVICE = (
    "Check the order, which is k1, k2, p1, p2, k3, k4, k5, k6, and that the intrinsics belong to the same calibration "
    "and image size."
)


def _check_fold(camera: LensCamera) -> None:
    """Reject coefficients that map two rays to the same place of the image."""
    fold, ends = _fold(camera.lens)
    focal_px, middle_px = np.array(camera.pinhole).reshape(2, 2)
    corners_px = np.array([(u, v) for u in (0.0, camera.width_px - 1.0) for v in (0.0, camera.height_px - 1.0)])
    corner = float(np.linalg.norm((corners_px - middle_px) / focal_px, axis=-1).max())
    if fold < min(MOST_SLOPE, float(_SAMPLES[-1])) and corner > ends:
        mean_px = math.sqrt(camera.pinhole.fx_px * camera.pinhole.fy_px)
        raise ValueError(
            f"The lens coefficients {coefficients_of(camera.lens)} fold the image over at {ends * mean_px:.0f} pixels "
            f"from its centre ({math.degrees(math.atan(fold)):.0f} degrees from the axis), inside the field of view, "
            f"whose corner is at {corner * mean_px:.0f} pixels. {_ADVICE}"
        )


def pinhole_of(camera: Pinhole | LensCamera) -> Pinhole:
    """Return the intrinsics without the lens."""
    return camera.pinhole if isinstance(camera, LensCamera) else camera


def ray_at(u: float, v: float, camera: LensCamera) -> tuple[float, float]:
    """Interpolate the slopes x/z and y/z of the ray through (u, v). NaN outside the field of view."""
    rays = lens_table(camera).rays
    height, width, _ = rays.shape
    column = min(max(math.floor(u), 0), width - 2)
    row = min(max(math.floor(v), 0), height - 2)
    right = u - column
    down = v - row
    (a, b), (c, d) = rays[row : row + 2, column : column + 2].tolist()
    x, y = (
        (1 - down) * ((1 - right) * a[k] + right * b[k]) + down * ((1 - right) * c[k] + right * d[k]) for k in (0, 1)
    )
    return x, y


def ideal_image(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], camera: Pinhole | LensCamera
) -> tuple[Float32[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"], Pinhole]:
    """Return the image that a camera without distortion would take, and that camera. Without a lens nothing changes."""
    if not isinstance(camera, LensCamera):
        return depth_mm, camera
    table = lens_table(camera)
    return _looked_up(depth_mm, camera, table.pixel), table.ideal


def ideal_slice(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], camera: LensCamera, rows: slice, columns: slice
) -> Float32[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]:
    """Return a rectangle of the ideal image, without computing that image."""
    return _looked_up(depth_mm, camera, lens_table(camera).pixel[rows, columns])


def ideal_part(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    camera: LensCamera,
    from_px: Float64[np.ndarray, "2 3"],
    size_px: int,
) -> Float32[np.ndarray, "S S"] | UInt16[np.ndarray, "S S"]:
    """Return `cv2.warpAffine` of the ideal image by nearest neighbour, without computing that image."""
    index = cv2.warpAffine(
        lens_table(camera).pixel,
        from_px,
        (size_px, size_px),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(-1,),
    )
    return _looked_up(depth_mm, camera, np.asarray(index, np.int32))


def _looked_up(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"],
    camera: LensCamera,
    index: Int32[np.ndarray, "h w"],
) -> Float32[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]:
    if depth_mm.shape != (camera.height_px, camera.width_px):
        raise ValueError(
            f"The image is {depth_mm.shape[1]} x {depth_mm.shape[0]} pixels, but the camera's lens is for "
            f"{camera.width_px} x {camera.height_px}. Give the intrinsics of this size."
        )
    found = depth_mm.take(index, mode="clip")
    found[index < 0] = 0
    return found
