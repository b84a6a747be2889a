from dataclasses import fields

import pytest
import torch
from torch import Tensor

from crossnets.geometry.thinned import as_image
from crossnets.tensors import SceneBatch
from crossnets.training import damage
from crossnets.training.damage import CropDamage, SceneDamage, damage_crops, damage_scenes, hashed, image_of

SIZE = 64
KINDS = ("objects", "mixing", "coarse", "noise", "edges", "holes", "outliers")


def disc(count: int = 6, radius: float = 20.0) -> Tensor:
    """A flat disc in the middle of a crop, before nothing."""
    at = torch.arange(SIZE) - (SIZE - 1) / 2
    inside = at[:, None].square() + at.square() < radius**2
    return torch.where(inside, 0.1, 1.0).expand(count, 1, SIZE, SIZE).contiguous()


def joints(count: int = 6) -> Tensor:
    return torch.zeros(count, 21, 3) + torch.tensor([0.0, 0.0, 0.1])


def only(kind: str, **strength: float) -> CropDamage:
    shares = {name: 1.0 if name == kind else 0.0 for name in KINDS}
    return CropDamage(**shares, **strength)  # pyright: ignore[reportArgumentType]


def damaged(kind: str, seed: int = 3, **strength: float) -> Tensor:
    return damage_crops(disc(), joints(), only(kind, **strength), seed)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_every_image_is_damaged_its_own_way(kind: str) -> None:
    one, same, other = damaged(kind), damaged(kind), damaged(kind, seed=4)
    assert torch.equal(one, same)
    assert one.isfinite().all()
    assert float(one.abs().max()) <= 1
    if kind not in ("mixing", "coarse", "edges"):  # these draw little or nothing
        assert not torch.equal(one, other)
        assert not torch.equal(one[0], one[1])


def test_the_share_is_that_of_the_changed_images() -> None:
    image = disc(400)
    assert torch.equal(damage_crops(image, joints(400), only("none"), 1), image)
    half = CropDamage(**{name: 0.5 if name == "noise" else 0.0 for name in KINDS})
    changed = (damage_crops(image, joints(400), half, 1) != image).flatten(1).any(dim=1)
    assert 0.4 < float(changed.float().mean()) < 0.6


def test_lost_edges_make_a_plate_smaller_by_whole_pixels() -> None:
    plate = torch.ones(6, 1, SIZE, SIZE)
    plate[..., 12:52, 12:52] = 0.1
    lost = damage_crops(plate, joints(), only("edges", edges_px=4), 3)
    widths = {int((crop[0, SIZE // 2] < 1).sum()) for crop in lost}
    assert widths <= {38, 36, 34, 32}
    assert len(widths) > 1
    assert torch.equal(lost[lost < 1].unique(), torch.tensor([0.1]))


def test_noise_leaves_the_background_alone() -> None:
    noisy, before = damaged("noise"), disc()
    assert torch.equal(noisy[before == 1], before[before == 1])
    apart = (noisy - before)[before < 1]
    assert abs(float(apart.mean())) < 0.003
    assert 0.005 < float(apart.std()) < 7 / 120


def test_holes_are_background_and_leave_most_of_the_disc() -> None:
    holed, before = damaged("holes"), disc()
    gone = (holed != before) & (before < 1)
    assert (holed[gone] == 1).all()
    assert 0.005 < float(gone.sum() / (before < 1).sum()) < 0.4


def test_objects_are_round_and_only_decrease_depth() -> None:
    held, before = damaged("objects"), disc()
    assert (held <= before).all()
    assert (held < before).flatten(1).any(dim=1).sum() >= 4  # some lie behind the disc


def test_outliers_are_few_and_nearer() -> None:
    wrong, before = damaged("outliers"), disc()
    changed = wrong != before
    assert (wrong <= before).all()
    assert 0 < float(changed.float().mean()) < 0.05


def test_a_hand_that_would_vanish_keeps_its_edges() -> None:
    thin = disc(radius=3.0)
    assert torch.equal(damage_crops(thin, joints(), only("edges", edges_px=7), 5)[:, :, 20:44, 20:44].amin((1, 2, 3)),
                       torch.full((6,), 0.1))  # fmt: skip


SCENE_KINDS = ("objects", "mixing", "edges", "holes", "outliers")


def scenes(count: int = 8, *, hands: bool = True) -> SceneBatch:
    """A tilted square, half a metre away, before nothing."""
    depth = torch.zeros(count, 1, 64, 80)
    depth[:, 0, 20:40, 20:50] = 500 + torch.arange(30.0)
    uvd = torch.tensor([35.0, 30.0, 510.0]).expand(count, 2, 3) if hands else torch.ones(count, 2, 3)
    ones = torch.ones(count, 2)
    return SceneBatch(image_of(depth), uvd, ones, 0 * ones, ones if hands else 0 * ones, torch.full((count,), 118.0))


def test_the_image_of_a_scene_is_that_of_the_detector() -> None:
    depth = torch.rand(3, 1, 32, 48, generator=torch.Generator().manual_seed(1)) * 900
    depth[depth < 200] = 0
    for image, one in zip(image_of(depth), depth, strict=True):
        torch.testing.assert_close(image, torch.from_numpy(as_image(one[0].numpy())), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_damaged_scenes_have_the_channels_of_their_depth(kind: str) -> None:
    batch = scenes()
    config = SceneDamage(**{name: float(name == kind) for name in SCENE_KINDS})
    found = damage_scenes(batch, config, 2)
    assert torch.equal(found, damage_scenes(batch, config, 2))
    inverse, before = found[:, 0], batch.image[:, 0]
    changed = (inverse - before).abs() > 1e-4
    assert changed.any()
    depth = torch.where(inverse > 0, 500 / inverse.clamp_min(1e-6), 0.0)
    if kind != "mixing":  # mixed pixels may be nearer than the inverse depth shows
        torch.testing.assert_close(found, image_of(depth[:, None]), rtol=1e-3, atol=1e-3)
    if kind in ("edges", "holes"):
        assert (inverse[changed] == 0).all()
        assert (found[:, 1][changed] == 0).all()
    if kind in ("objects", "outliers"):
        assert (inverse >= before - 1e-4).all()


def test_scenes_that_are_not_chosen_stay_as_they_are() -> None:
    batch = scenes()
    assert torch.equal(damage_scenes(batch, SceneDamage(**dict.fromkeys(SCENE_KINDS, 0.0)), 2), batch.image)


def test_a_ball_lies_at_the_hand_or_anywhere_in_a_frame_without_hands() -> None:
    config = SceneDamage(**{name: float(name == "objects") for name in SCENE_KINDS})
    near, anywhere = scenes(64), scenes(64, hands=False)
    for batch, nearest, farthest in ((near, 350, 600), (anywhere, 250, 1300)):
        changed = damage_scenes(batch, config, 5)
        ball = (changed[:, 0] - batch.image[:, 0]).abs() > 1e-4
        depth = 500 / changed[:, 0][ball]
        assert float(depth.min()) > nearest
        assert float(depth.max()) < farthest


def rough(count: int, height: int, width: int) -> Tensor:
    """Steps of depth between blocks of different sizes, and single pixels, 0 to 1."""
    generator = torch.Generator().manual_seed(7)
    blocks = torch.rand(count, 1, height // 4, width // 4, generator=generator)
    image = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return torch.where(torch.rand(image.shape, generator=generator) < 0.1, 1.0, image)


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_compiled_loops_damage_crops_with_the_same_bits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CropDamage(**dict.fromkeys(KINDS, 0.5)) if kind == "all" else only(kind)
    crops = 2 * rough(16, 48, 48) - 1
    found = damage_crops(crops, joints(16), config, 9)
    monkeypatch.setattr(damage, "_has_kernels", lambda device: False)
    assert torch.equal(found, damage_crops(crops, joints(16), config, 9))
    assert not torch.equal(found, crops)


@pytest.mark.parametrize("kind", [*SCENE_KINDS, "all"])
def test_compiled_loops_damage_scenes_with_the_same_bits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SceneDamage(**{name: 0.5 if kind == "all" else float(name == kind) for name in SCENE_KINDS})
    depth = 1000 * rough(8, 64, 80) * (rough(8, 64, 80) < 0.9)
    batch = scenes()._replace(image=image_of(depth))
    found = damage_scenes(batch, config, 9)
    monkeypatch.setattr(damage, "_has_kernels", lambda device: False)
    assert torch.equal(found, damage_scenes(batch, config, 9))
    assert torch.equal(image_of(depth), batch.image)
    assert not torch.equal(found, batch.image)


def test_the_hash_is_even_and_neighbours_do_not_go_together() -> None:
    values = hashed(torch.arange(200_000), 12345)
    counts = torch.histc(values, 20, 0, 1)
    assert float((counts - 10_000).abs().max()) < 400
    together = torch.corrcoef(torch.stack([values[:-1], values[1:]]))[0, 1]
    assert abs(float(together)) < 0.01


@pytest.mark.parametrize("name", [field.name for field in fields(CropDamage) if field.name in KINDS])
def test_a_share_above_one_raises(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=1.5: expected 0 to 1"):
        CropDamage(**{name: 1.5})
