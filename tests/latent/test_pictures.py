"""Pictures of the latent space."""

from pathlib import Path

import numpy as np
from PIL import Image

from crossnets.latent.pictures import map_to_rgb, save_gif


def test_background_of_a_map_is_dark_and_the_hand_is_not() -> None:
    depth = np.full((128, 128), 0.95, np.float32)
    depth[40:80, 40:80] = np.linspace(-1, 0.5, 40, dtype=np.float32)
    picture = map_to_rgb(depth, 3)
    assert picture.shape == (384, 384, 3)
    assert picture[0, 0].max() < 40
    assert picture[180, 180].min() > 60


def test_a_film_keeps_the_colours_of_thin_lines(tmp_path: Path) -> None:
    plain = [np.random.default_rng(k).integers(0, 256, (60, 60, 1), np.uint8).repeat(3, axis=2) for k in range(3)]
    drawn = [picture.copy() for picture in plain]
    for k, picture in enumerate(drawn):
        picture[20 + k, 5:50], picture[40 + k, 5:50] = (230, 74, 61), (153, 79, 199)
    save_gif(tmp_path / "film.gif", plain, drawn)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 4  # pyright: ignore[reportAttributeAccessIssue]
        first = np.asarray(film.convert("RGB")).astype(int)
    np.testing.assert_allclose(first[20, 10], (230, 74, 61), atol=8)
    np.testing.assert_allclose(first[40, 10], (153, 79, 199), atol=8)
