"""sample: with the cache of every layer the same as by running the whole model for each position, and far fewer operations."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from faltung import nn
from faltung.errors import ArgumentError
from faltung.tools import sample


def model(ndim, channels=1, groups=1, first="A", then="B", **options):
    torch.manual_seed(0)
    width = 4 * groups
    return torch.nn.Sequential(
        nn.MaskedConv(ndim, channels, width, 5, mask=first, channel_groups=groups, **options),
        torch.nn.PReLU(width),
        nn.MaskedConv(ndim, width, width, 3, mask=then, channel_groups=groups, dilation=2, groups=2),
        torch.nn.Sequential(torch.nn.Tanh(), nn.MaskedConv(ndim, width, channels, 1, mask=then, channel_groups=groups)),
    ).double()


def both(model, size, **options):
    """The signal by the cache and by whole runs; values are drawn as results plus noise, which shows every difference."""
    found = []
    for cached in (True, False):
        noise = torch.Generator().manual_seed(5)

        def draw(y, noise=noise):
            return y + torch.randn(y.shape, generator=noise, dtype=y.dtype)

        found.append(sample(model, size, draw=draw, batch=2, cached=cached, **options))
    return found


@pytest.mark.parametrize(("ndim", "size"), [(1, (9,)), (2, (6, 5)), (3, (3, 4, 3))])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_cache_changes_nothing(ndim, size, groups):
    channels = groups
    ours, whole = both(model(ndim, channels, groups), (channels, *size), channel_groups=groups)
    torch.testing.assert_close(ours, whole, rtol=0, atol=1e-11)
    assert whole.std() > 0.5


def test_other_orders_than_raster():
    diagonals = sorted(range(30), key=lambda i: (i // 5 + i % 5, i))
    columns = torch.arange(30).reshape(6, 5).T.flatten()
    quadrant = model(2, first=torch.tensor([[1, 1, 0, 0, 0]] * 2 + [[1, 1, 0, 0, 0]] + [[0] * 5] * 2), then="quadrant")
    for order in (diagonals, columns):
        ours, whole = both(quadrant, (1, 6, 5), order=order)
        torch.testing.assert_close(ours, whole, rtol=0, atol=1e-11)
    with pytest.raises(ArgumentError, match="earlier in this order"):
        sample(model(2), (1, 6, 5), order=columns)


@pytest.mark.parametrize(("ndim", "size"), [(1, (7,)), (2, (5, 6)), (3, (3, 3, 4))])
def test_stacks_for_every_axis(ndim, size):
    torch.manual_seed(0)
    stack = torch.nn.Sequential(nn.GatedStack(ndim, 1, 4, layers=3), torch.nn.ReLU(), nn.Conv(ndim, 4, 1, 1)).double()
    ours, whole = both(stack, (1, *size))
    torch.testing.assert_close(ours, whole, rtol=0, atol=1e-11)


def test_layers_of_torch_may_stand_between():
    mixed = torch.nn.Sequential(nn.MaskedConv2d(1, 4, 3, mask="A"), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 1)).double()
    ours, whole = both(mixed, (1, 4, 5))
    torch.testing.assert_close(ours, whole, rtol=0, atol=1e-12)


def test_bits_are_drawn_from_the_logits():
    """Bits that copy their neighbour start with what the bias says; without weights they are independent."""
    layer = nn.MaskedConv1d(1, 1, 3, mask="A")
    layer.weight.data.zero_()
    layer.weight.data[0, 0, 0] = 80
    layer.bias.data.fill_(-40)
    bits = sample(layer, (1, 6), batch=500, generator=torch.Generator().manual_seed(0))
    assert bits.unique().tolist() == [0.0]  # nothing lies before the first one
    layer.weight.data[0, 0, 0] = 0
    layer.bias.data.fill_(torch.tensor(0.3).logit().item())
    many = sample(layer, (1, 6), batch=4000, generator=torch.Generator().manual_seed(0))
    assert abs(many.mean().item() - 0.3) < 0.02
    again = sample(layer, (1, 6), batch=4000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(many, again)


def test_the_cache_costs_a_window_a_position(monkeypatch):
    """Multiplications: D·k² with the cache, D²·k² without."""
    from faltung.tools.sample import _Window

    layer, count = nn.MaskedConv2d(1, 1, 3, mask="A", bias=False), 0
    inner = _Window.at

    def counted(self, image, lead):
        nonlocal count
        with FlopCounterMode(display=False) as counter:
            y = inner(self, image, lead)
        count += counter.get_total_flops()
        return y

    monkeypatch.setattr(_Window, "at", counted)
    sample(layer, (1, 8, 8))
    assert 0 < count <= 2 * 64 * 6  # 64 positions, 6 taps in the mask's box


@pytest.mark.parametrize(
    ("layer", "error"),
    [
        (nn.MaskedConv2d(1, 1, 3, mask="B"), "being drawn"),
        (nn.Conv2d(1, 1, 3, padding=1), "being drawn"),
        (
            torch.nn.Sequential(nn.MaskedConv2d(1, 1, 3, mask="A"), nn.Conv2d(1, 1, 3, padding=1)),
            "earlier in this order",
        ),
        (torch.nn.Sequential(nn.MaskedConv2d(1, 2, 3, mask="A"), torch.nn.BatchNorm2d(2)), "BatchNorm2d"),
        (nn.MaskedConv2d(1, 1, 3, mask="A", padding_mode="circular"), "pad with zeros"),
        (nn.MaskedConv2d(1, 1, 3, mask="A", padding=2), "keep the size"),
    ],
)
def test_what_the_cache_cannot_follow_is_refused(layer, error):
    with pytest.raises(ArgumentError, match=error):
        sample(layer, (1, 4, 4))


def test_the_model_s_mode_is_given_back():
    layer = torch.nn.Sequential(nn.MaskedConv1d(1, 1, 3, mask="A"), torch.nn.Dropout(0.9))
    sample(layer, (1, 3))
    assert layer.training
