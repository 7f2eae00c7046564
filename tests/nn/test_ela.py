"""ELA: the published variants, the gates' range, exchanged and rolled axes, samples alone."""

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError


@pytest.mark.parametrize(
    ("variant", "taps", "groups", "parts"), [("T", 5, 64, 32), ("B", 7, 64, 16), ("S", 5, 8, 16), ("L", 7, 8, 16)]
)
def test_variants_are_the_paper_s(variant, taps, groups, parts):
    layer = nn.ELA(64, variant)
    assert (layer.kernel_size, layer.groups, layer.norm.num_groups) == (taps, groups, parts)
    assert layer.weight.shape == (64, 64 // groups, taps)
    assert layer.parameter_count() == 64 * 64 // groups * taps + 128


@pytest.mark.parametrize("variant", ["T", "B", "S", "L"])
@pytest.mark.parametrize("sizes", [(6,), (4, 5), (3, 2, 4)])
def test_gates_lie_between_zero_and_one(variant, sizes):
    layer, x = nn.ELA(32, variant, dtype=torch.float64), torch.randn(2, 32, *sizes, dtype=torch.float64)
    gates = layer.gates(x)
    assert [g.shape for g in gates] == [(2, 32, n) for n in sizes]
    assert all(g.min() > 0 and g.max() < 1 for g in gates)


def test_transposed_inputs_give_transposed_results():
    layer, x = nn.ELA(16, dtype=torch.float64), torch.randn(2, 16, 4, 6, 3, dtype=torch.float64)
    for order in ((0, 1, 3, 2, 4), (0, 1, 4, 3, 2), (0, 1, 3, 4, 2)):
        torch.testing.assert_close(layer(x.permute(order)), layer(x).permute(order))


def test_only_circular_strips_follow_rolls():
    x = torch.randn(2, 16, 9, 8, dtype=torch.float64)
    for mode in ("zeros", "circular"):
        torch.manual_seed(0)
        layer = nn.ELA(16, padding_mode=mode, dtype=torch.float64)
        off = (layer(x.roll((2, 3), (2, 3))) - layer(x).roll((2, 3), (2, 3))).abs().max()
        assert (off < 1e-12) == (mode == "circular")


def test_samples_do_not_see_each_other_in_training_either():
    layer, x = nn.ELA(16, dtype=torch.float64).train(), torch.randn(3, 16, 5, 5, dtype=torch.float64)
    whole = layer(x)
    for n in range(3):
        torch.testing.assert_close(layer(x[n : n + 1]), whole[n : n + 1])


def test_a_single_value_in_a_group_is_its_own_mean():
    layer = nn.ELA(4, groups=4, norm_groups=4, dtype=torch.float64)
    x = torch.randn(1, 4, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x / 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"channels": 24}, "16 norm_groups divide, but got 24"),
        ({"channels": 20, "variant": "S"}, "groups of 8, but got 20"),
        ({"channels": 16, "variant": "T"}, "32 norm_groups"),
        ({"channels": 16, "variant": "XL"}, "T, B, S, L"),
        ({"channels": 16, "groups": 3}, "3 groups divide"),
        ({"channels": 16, "groups": 2.0}, "groups"),
        ({"channels": 16, "kernel_size": 4}, "odd"),
        ({"channels": 16, "padding_mode": "mirror"}, "padding_mode"),
        ({"channels": 16, "eps": 0}, "eps above 0"),
    ],
)
def test_wrong_settings_are_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        nn.ELA(**arguments)
