import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from crossnets.models.blocks import BatchNorm1d, BatchNorm2d, ImageConv2d, frozen_averages
from tests.models.nets import images, make_nets, rng


def _buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.named_buffers()}


def test_frozen_averages_use_the_batch_and_leave_the_averages() -> None:
    disc, x = make_nets().disc, images(4)
    before = _buffers(disc)
    with frozen_averages(disc):
        frozen = disc.pos(disc.trunk(x))
    assert all(torch.equal(value, before[name]) for name, value in _buffers(disc).items())
    assert torch.equal(disc.pos(disc.trunk(x)), frozen)
    moved = {name for name, value in _buffers(disc).items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith(("trunk.", "pos."))}


def test_evaluation_uses_frozen_averages() -> None:
    disc, x = make_nets().disc, images(4)
    disc.trunk(x)
    disc.eval()
    expected = disc.trunk(x)
    with frozen_averages(disc):
        assert torch.equal(disc.trunk(x), expected)


def test_frozen_averages_restore_the_state_before() -> None:
    layers = [BatchNorm1d(2), BatchNorm1d(2)]
    layers[1].track_running_stats = False

    def fail() -> None:
        with frozen_averages(*layers):
            assert not any(layer.track_running_stats for layer in layers)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [layer.track_running_stats for layer in layers] == [True, False]


def test_early_averages_are_plain_means_and_later_ones_forget() -> None:
    layer = BatchNorm1d(1, 1e-4, 0.1)
    batches = 3 + torch.randn(30, 8, 1, generator=rng()) * torch.arange(1, 31)[:, None, None]
    means, variances = batches.mean(1), batches.var(1)
    for count, batch in enumerate(batches[:10], 1):
        layer(batch)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert_close(layer.running_mean, means[:count].mean(0))
        assert_close(layer.running_var, variances[:count].mean(0))
    mean, variance = means[:10].mean(0), variances[:10].mean(0)
    for k in range(10, 30):
        layer(batches[k])
        mean, variance = 0.9 * mean + 0.1 * means[k], 0.9 * variance + 0.1 * variances[k]
    assert_close(layer.running_mean, mean)
    assert_close(layer.running_var, variance)


def test_averages_stay_in_evaluation() -> None:
    layer = BatchNorm2d(1).eval()
    layer(images(2))
    assert layer.running_mean is not None
    assert not layer.running_mean.any()
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_of_an_image_have_the_layout_of_the_next_layers_in_bfloat16(layout: torch.memory_format) -> None:
    torch.manual_seed(1)
    first = ImageConv2d(1, 8, 5, 2, 2)
    plain = nn.Conv2d(1, 8, 5, 2, 2)
    plain.load_state_dict(first.state_dict())
    image = torch.rand(4, 1, 32, 24).contiguous(memory_format=layout).requires_grad_()
    assert torch.equal(first(image), plain(image))
    with torch.autocast("cpu", torch.bfloat16):
        maps = first(image)
        expected = plain(image)
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert_close(maps, expected)
    (ours,) = torch.autograd.grad(maps.float().square().sum(), image)
    (theirs,) = torch.autograd.grad(expected.float().square().sum(), image)
    assert_close(ours, theirs, rtol=0.02, atol=0.02)
