"""ECA: the published kernel sizes, the gate's range, and what the gate commutes with."""

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError


def test_the_formula_gives_the_published_sizes():
    channels = [2**n for n in range(4, 13)]
    assert [nn.ECA.size(c) for c in channels] == [3, 3, 3, 5, 5, 5, 5, 7, 7]
    assert [nn.ECA(c).kernel_size for c in channels[:5]] == [3, 3, 3, 5, 5]
    assert [nn.ECA.size(c) for c in (256, 512, 1024, 2048)] == [5, 5, 5, 7]
    assert [nn.ECA.size(c) for c in (64, 128, 256, 512)] == [3, 5, 5, 5]
    assert nn.ECA.size(1) == 1
    assert nn.ECA.size(64, gamma=1, beta=2) == 9


def test_the_published_weights_add_eighty_parameters_to_resnet_50():
    added = 0
    for blocks, channels, taps in zip((3, 4, 6, 3), (256, 512, 1024, 2048), nn.ECA.PUBLISHED["resnet-50"], strict=True):
        added += blocks * sum(p.numel() for p in nn.ECA(channels, taps).parameters())
    assert added == 80


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("sizes", [(7,), (4, 5), (2, 3, 4), (2, 1, 3, 2)])
def test_gates_lie_between_zero_and_one_in_any_dimension(mode, sizes):
    layer, x = nn.ECA(24, padding_mode=mode, dtype=torch.float64), torch.randn(3, 24, *sizes, dtype=torch.float64)
    gate = layer.gate(x)
    assert gate.shape == (3, 24)
    assert gate.min() > 0
    assert gate.max() < 1
    torch.testing.assert_close(layer(x), x * gate.reshape(3, 24, *[1] * len(sizes)))


def test_zero_weights_halve():
    layer, x = nn.ECA(10), torch.randn(2, 10, 4, 3)
    torch.nn.init.zeros_(layer.weight)
    assert torch.equal(layer(x), x / 2)


def test_only_circular_gates_follow_rolled_channels():
    x = torch.randn(2, 9, 3, 3, dtype=torch.float64)
    for mode in ("zeros", "circular"):
        torch.manual_seed(0)
        layer = nn.ECA(9, 3, padding_mode=mode, dtype=torch.float64)
        off = [(layer(x.roll(s, 1)) - layer(x).roll(s, 1)).abs().max() for s in range(1, 9)]
        assert (max(off) < 1e-12) == (mode == "circular")


def test_permuted_places_give_permuted_results():
    layer, x = nn.ECA(12, dtype=torch.float64), torch.randn(2, 12, 4, 5, dtype=torch.float64)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))

    def permuted(a):
        return a.flatten(2)[..., order].reshape(a.shape)

    torch.testing.assert_close(layer(permuted(x)), permuted(layer(x)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"channels": 0}, "channels"),
        ({"channels": 8, "kernel_size": 4}, "odd kernel_size, but got 4"),
        ({"channels": 8, "kernel_size": "large"}, "kernel_size"),
        ({"channels": 8, "gamma": 0}, "gamma above 0"),
        ({"channels": 8, "beta": float("inf")}, "beta"),
        ({"channels": 8, "padding_mode": "reflect"}, "zeros or circular"),
    ],
)
def test_wrong_settings_are_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        nn.ECA(**arguments)


def test_inputs_without_places_are_refused():
    with pytest.raises(ArgumentError, match="spatial axes"):
        nn.ECA(4)(torch.zeros(2, 4))
