import numpy as np
import pytest

from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.lens import lens_table
from crossnets.synth.casting.raster import (
    cast,
    crop_grid,
    patches_of,
    pixel_slopes,
    primitive_of,
    render,
    render_crops,
    render_patches,
    render_through_lens,
)
from crossnets.synth.casting.spheremesh import SphereMesh, Topology, stack
from crossnets.types import Lens, LensCamera, Pinhole

from .reference import reference

CAMERA = Pinhole(60.0, 62.0, 19.3, 15.8)
WIDTH = 40
HEIGHT = 32
ONE_CAPSULE = Topology(np.array([[0, 1]]), np.zeros((0, 3), int))
ONE_WEDGE = Topology(np.zeros((0, 2), int), np.array([[0, 1, 2]]))


def mesh(centers: object, radii: object, topology: Topology) -> SphereMesh:
    return SphereMesh(np.array(centers, float), np.array(radii, float), topology)


def ball(center: object, radius: float) -> SphereMesh:
    return mesh([center, center], [radius, radius], ONE_CAPSULE)


def some_mesh(seed: int) -> SphereMesh:
    """Two capsules and two wedges that share spheres, in front of the camera."""
    random = np.random.default_rng(seed)
    centers = random.normal(0, 40, (6, 3)) + np.array([0, 0, 400])
    topology = Topology(np.array([[0, 1], [2, 1]]), np.array([[1, 2, 3], [3, 4, 5]]))
    return SphereMesh(centers, random.uniform(4, 30, 6), topology)


def assert_exact(surface: SphereMesh, camera: Pinhole = CAMERA) -> np.ndarray:
    """Compare depth with the reference. Only grazing rays may hit in one image and miss in the other."""
    depth = render(surface, camera, WIDTH, HEIGHT)
    x, y = pixel_slopes(camera, WIDTH, HEIGHT)
    expected = reference(surface, x, y)
    both = (depth > 0) & (expected > 0)
    np.testing.assert_allclose(depth[both], expected[both], atol=0.01)
    for u, v in np.argwhere((depth > 0) != (expected > 0))[:, ::-1]:
        around = reference(surface, x[u] + np.array([-1e-5, 1e-5]), y[v] + np.array([-1e-5, 1e-5]))
        assert 0 < (around > 0).sum() < 4, (u, v)
    return depth


@pytest.mark.parametrize("seed", range(5))
def test_random_meshes_are_exact(seed: int) -> None:
    assert (assert_exact(some_mesh(seed)) > 0).mean() > 0.05


DEGENERATE = {
    "one sphere": ([[0, 0, 300], [0, 0, 300]], [40, 40]),
    "sphere inside the other": ([[0, 0, 300], [10, 5, 290]], [40, 20]),
    "touching from inside": ([[0, 0, 300], [20, 0, 300]], [40, 20]),
    "radius zero": ([[-40, 0, 300], [40, 10, 280]], [0, 20]),
    "towards the camera": ([[3, 2, 300], [0.5, 1, 150]], [20, 10]),
    "spheres in a line": ([[-50, 0, 300], [0, 10, 310], [50, 20, 320]], [10, 30, 12]),
    "almost in a line": ([[-50, 0, 300], [0, 10.001, 310], [50, 20, 320]], [15, 15, 15]),
    "third inside the first": ([[0, 0, 300], [50, 0, 300], [5, 5, 305]], [40, 20, 10]),
    "third inside the hull": ([[-50, 0, 300], [50, 0, 300], [0, 5, 300]], [30, 30, 20]),
    "one much larger": ([[0, 0, 300], [55, 0, 290], [0, 55, 310]], [50, 3, 3]),
    "same sphere thrice": ([[0, 0, 300]] * 3, [30] * 3),
    "two the same": ([[0, 0, 300], [0, 0, 300], [50, 20, 280]], [30, 30, 10]),
    "edge on": ([[0, -40, 300], [0, 40, 300], [0, 0, 400]], [8, 8, 8]),
    "beside the camera": ([[60, 0, -100], [60, 0, 300], [80, 40, 200]], [20, 10, 15]),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_hulls_are_exact(name: str) -> None:
    centers, radii = DEGENERATE[name]
    assert (assert_exact(mesh(centers, radii, ONE_CAPSULE if len(radii) == 2 else ONE_WEDGE)) > 0).any()


def test_depth_is_z_at_pixel_centres() -> None:
    camera = Pinhole(500.0, 510.0, 100.0, 90.0)
    center = np.array([(120 - 100) / 500 * 600, (70 - 90) / 510 * 600, 600.0])  # projects to (120, 70)
    depth = render(ball(center, 10.0), camera, 200, 180)
    rows, columns = np.nonzero(depth)
    assert abs(columns.mean() - 120) < 0.3
    assert abs(rows.mean() - 70) < 0.3
    axial = render(ball([0, 0, 600.0], 10.0), camera, 200, 180)
    assert axial[90, 100] == axial[axial > 0].min() == 590.0


def test_every_camera_shows_a_sphere_where_it_projects() -> None:
    for name, preset in CAMERAS.items():
        center = np.array([30.0, -20.0, 500.0])
        depth = render(ball(center, 15.0), preset.pinhole, preset.width_px, preset.height_px)
        u, v, _ = np.floor(project(center, preset.pinhole) + 0.5).astype(int)
        assert 485 <= depth[v, u] < 486.5, name
        assert depth[depth > 0].min() >= 485 - 2, name


@pytest.mark.parametrize(
    ("center", "radius"),
    [([0, 0, -300], 50), ([0, 0, 10], 50), ([0, 0, -5], 4), ([4000, 0, 300], 50), ([0, -4e3, 9], 5)],
)
def test_surfaces_behind_around_or_beside_the_camera_are_invisible(center: list[float], radius: float) -> None:
    assert not render(ball(center, radius), CAMERA, WIDTH, HEIGHT).any()


def test_a_wedge_around_the_camera_is_invisible() -> None:
    around = [[-500, -300, 0], [500, -300, 0], [0, 600, 0]]
    both = mesh(
        [*around, [0, 0, 300], [0, 10, 300]], [60, 60, 60, 20, 20], Topology(np.array([[3, 4]]), np.array([[0, 1, 2]]))
    )
    alone = mesh([[0, 0, 300], [0, 10, 300]], [20, 20], ONE_CAPSULE)
    np.testing.assert_array_equal(render(both, CAMERA, WIDTH, HEIGHT), render(alone, CAMERA, WIDTH, HEIGHT))
    assert render(alone, CAMERA, WIDTH, HEIGHT).any()


def test_primitives_identify_the_hull() -> None:
    surface = mesh(
        [[-60, 0, 300], [-60, 30, 300], [40, 0, 300], [80, 0, 300], [60, 40, 300]],
        [15, 15, 10, 10, 10],
        Topology(np.array([[0, 1]]), np.array([[2, 3, 4]])),
    )
    hit = render_patches(surface, CAMERA, WIDTH, HEIGHT)
    primitive = primitive_of(surface.topology, 5)[hit.patch[0]]
    assert set(np.unique(primitive)) == {-1, 0, 1}
    np.testing.assert_array_equal(primitive == -1, hit.depth_mm[0] == 0)
    columns = np.arange(WIDTH) < CAMERA.cx_px
    assert (primitive[:, columns] != 1).all()
    assert (primitive[:, ~columns] != 0).all()


def test_shared_patches_are_listed_once() -> None:
    patches = patches_of(Topology(np.array([[1, 0], [0, 1]]), np.array([[0, 1, 2]])), 3)
    assert patches.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert patches.capsule_pair.tolist() == [0, 0]
    assert patches.wedge_pairs.tolist() == [[0, 2, 1]]
    with pytest.raises(ValueError, match="uses spheres 0 to 3, but the mesh has only 3"):
        patches_of(Topology(np.array([[0, 3]]), np.zeros((0, 3), int)), 3)


def hands(count: int) -> tuple[SphereMesh, np.ndarray, np.ndarray]:
    """A batch of meshes, and cubes that they do not fill."""
    surfaces = stack([some_mesh(seed) for seed in range(count)])
    centers = np.random.default_rng(1).normal(0, 15, (count, 3)) + np.array([0, 0, 400])
    return surfaces, centers, np.linspace(200, 300, count)


@pytest.mark.parametrize("camera", [Pinhole(241.4, 241.4, 160, 120), Pinhole(588.03, 560.0, 320, 240)])
def test_crops_equal_crops_of_the_image(camera: Pinhole) -> None:
    surfaces, centers, cubes = hands(4)
    width, height = int(2 * camera.cx_px), int(2 * camera.cy_px)
    crops = render_crops(surfaces, camera, centers, cubes, image_px=(width, height))
    for b in range(4):
        image = render(surfaces.take(b), camera, width, height)
        expected = crop_hand(image, camera, centers[b], float(cubes[b])).depth_mm
        same = np.isclose(crops[b], expected, atol=1e-3)
        assert same.mean() > 0.995  # OpenCV rounds to 1/1024 of a pixel before it picks the nearest
        lines = (~same).any(axis=0).sum() + (~same).any(axis=1).sum()
        assert lines <= 2 * 128
        assert (crops[b] > 0).mean() > 0.05


def test_crops_clamp_in_front_and_remove_behind() -> None:
    surface = mesh([[0, 0, 250], [20, 0, 520]], [15, 40], ONE_CAPSULE)
    crop = render_crops(surface.as_batch(), CAMERA, np.array([[0, 0, 400.0]]), np.array([200.0]))[0]
    assert crop[crop > 0].min() == 300
    assert crop.max() <= 500


def test_invalid_arguments_are_rejected() -> None:
    surfaces, centers, cubes = hands(2)
    grid = crop_grid(CAMERA, centers, cubes, 16)
    with pytest.raises(ValueError, match=r"expected \(B, S, 3\) and \(B, S\)"):
        cast(surfaces.take([0]), grid.x, grid.y)
    with pytest.raises(ValueError, match="finite"):
        cast(surfaces._replace(radii_mm=-surfaces.radii_mm), grid.x, grid.y)
    with pytest.raises(ValueError, match="in front of the camera"):
        crop_grid(CAMERA, -centers, cubes)


def test_rays_through_a_lens_agree_with_exact_rays() -> None:
    camera = LensCamera(CAMERA, Lens(0.3, -0.1, 0.01, -0.02), WIDTH, HEIGHT)
    surface = some_mesh(0)
    depth = render_through_lens(surface, camera, 64)
    rays = lens_table(camera).rays.astype(np.float64)
    x, y = rays.reshape(-1, 2).T
    exact = cast(stack([surface] * len(x)), x[:, None], y[:, None]).depth_mm.reshape(HEIGHT, WIDTH)
    both = (depth > 0) & (exact > 0)
    assert both.sum() > 100
    assert ((depth > 0) != (exact > 0)).mean() < 0.02
    without = np.median(np.abs(render(surface, CAMERA, WIDTH, HEIGHT) - exact)[both])
    assert np.median(np.abs(depth - exact)[both]) < 0.3 * without
