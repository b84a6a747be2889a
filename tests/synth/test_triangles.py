import numpy as np
import pytest

from crossnets.geometry.camera import CAMERAS
from crossnets.synth.casting.raster import crop_grid, pixel_slopes
from crossnets.synth.casting.triangles import TriangleMesh, draw_triangles
from crossnets.types import Pinhole

CAMERA = Pinhole(60.0, 62.0, 19.3, 15.8)
WIDTH = 40
HEIGHT = 32
X, Y = pixel_slopes(CAMERA, WIDTH, HEIGHT)
SQUARE = np.array([[-50.0, -50, 300], [50, -50, 300], [50, 50, 300], [-50, 50, 300]])
FACES = np.array([[0, 2, 1], [0, 3, 2]], np.int32)
"""Counter-clockwise as seen from the camera, whose y axis points down."""


def empty() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH), np.float32)


def oracle(vertices: np.ndarray, faces: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Solve for each ray and triangle a + u (b - a) + v (c - a) = t d, without regard to how the kernel does it."""
    rays = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))], axis=-1)
    nearest = np.full(rays.shape[:2], np.inf)
    for a, b, c in vertices[faces]:
        if np.cross(b - a, c - a) @ a >= 0:
            continue
        matrices = np.stack([np.broadcast_to(b - a, rays.shape), np.broadcast_to(c - a, rays.shape), -rays], axis=-1)
        valid = np.abs(np.linalg.det(matrices)) > 1e-9
        matrices[~valid] = np.eye(3)
        u, v, t = np.moveaxis(np.linalg.solve(matrices, np.broadcast_to(-a, rays.shape)[..., None])[..., 0], -1, 0)
        hit = valid & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
        nearest = np.where(hit & (t < nearest), t, nearest)
    return np.where(np.isfinite(nearest), nearest, 0)


def test_random_triangles_have_the_depth_of_ray_and_plane() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        vertices = rng.normal(0, 40, (12, 3)) + np.array([0, 0, 300])
        faces = rng.permuted(np.tile(np.arange(12), (6, 1)), axis=1)[:, :3].astype(np.int32)
        depth = empty()
        draw_triangles(TriangleMesh(vertices, faces), X, Y, depth)
        expected = oracle(vertices, faces, X, Y)
        assert (expected > 0).any()
        np.testing.assert_allclose(depth, expected, rtol=1e-6)


def test_a_square_covers_the_pixels_that_its_corners_enclose() -> None:
    depth = empty()
    draw_triangles(TriangleMesh(SQUARE, FACES), X, Y, depth)
    inside = (np.abs(X) <= 50 / 300)[None] & (np.abs(Y) <= 50 / 300)[:, None]
    np.testing.assert_array_equal(depth, np.where(inside, np.float32(300), np.float32(0)))


def test_a_tessellated_sphere_has_no_gap_and_the_silhouette_of_a_sphere() -> None:
    stacks = 60
    slices = 120
    theta, phi = np.meshgrid(np.linspace(0, np.pi, stacks + 1), np.linspace(0, 2 * np.pi, slices, False), indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
    center = np.array([10.0, -20, 400])
    vertices = (60 * points + center).reshape(-1, 3)
    at = np.arange((stacks + 1) * slices).reshape(stacks + 1, slices)
    right = np.roll(at, -1, axis=1)
    quads = [at[:-1], at[1:], right[1:], right[:-1]]
    faces = np.concatenate([np.stack([quads[0], quads[1], quads[2]], -1), np.stack([quads[0], quads[2], quads[3]], -1)])
    depth = empty()
    draw_triangles(TriangleMesh(vertices, faces.reshape(-1, 3).astype(np.int32)), X, Y, depth)
    rays = np.stack([*np.meshgrid(X, Y), np.ones((HEIGHT, WIDTH))], axis=-1)
    along = rays @ center
    squares = (rays**2).sum(-1)
    of_radius = {r: along**2 - squares * (center @ center - r**2) for r in (50.0, 59.7, 60.0)}
    assert (depth[of_radius[59.7] > 0] > 0).all()
    assert (depth[of_radius[60.0] <= 0] == 0).all()
    exact = (along - np.sqrt(np.maximum(of_radius[60.0], 0))) / squares
    inner = of_radius[50.0] > 0
    np.testing.assert_allclose(depth[inner], exact[inner], atol=0.3)


def test_nearer_surfaces_hide_a_mesh_and_patches_tell_which_is_seen() -> None:
    depth = empty()
    depth[:, :20] = 250
    depth[:, 20:] = 350
    patch = np.full((HEIGHT, WIDTH), 7, np.int16)
    draw_triangles(TriangleMesh(SQUARE, FACES), X, Y, depth, patch, 3)
    assert (depth[:, :20] == 250).all()
    assert (patch[:, :20] == 7).all()
    np.testing.assert_array_equal(patch[:, 20:] == 3, depth[:, 20:] == 300)
    assert (depth == 300).any()


def test_faces_that_look_away_and_faces_behind_the_camera_are_invisible() -> None:
    depth = empty()
    draw_triangles(TriangleMesh(SQUARE, np.ascontiguousarray(FACES[:, ::-1])), X, Y, depth)
    draw_triangles(TriangleMesh(SQUARE - np.array([0, 0, 600.0]), FACES), X, Y, depth)
    draw_triangles(TriangleMesh(SQUARE - np.array([[0, 0, 300.0]] * 2 + [[0, 0, 0]] * 2), FACES), X, Y, depth)
    assert not depth.any()


def test_a_crop_shows_the_pixels_of_the_image() -> None:
    preset = CAMERAS["realsense-sr300"]
    grid = crop_grid(preset.pinhole, np.array([[0.0, 0, 300]]), np.array([200.0]), 64, image_px=(640, 480))
    whole = np.zeros((480, 640), np.float32)
    draw_triangles(TriangleMesh(SQUARE, FACES), *pixel_slopes(preset.pinhole, 640, 480), whole)
    crop = np.zeros((64, 64), np.float32)
    draw_triangles(TriangleMesh(SQUARE, FACES), grid.x[0], grid.y[0], crop)
    np.testing.assert_array_equal(crop, whole[grid.row_px[0]][:, grid.column_px[0]])


def test_faulty_meshes_are_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        draw_triangles(TriangleMesh(SQUARE * np.nan, FACES), X, Y, empty())
    with pytest.raises(ValueError, match="vertices 0 to 4, but the mesh has 4"):
        draw_triangles(TriangleMesh(SQUARE, np.array([[0, 1, 4]], np.int32)), X, Y, empty())
