"""GatedStack: every earlier position is seen and no other, where a plain pile of raster masks has a blind spot."""

import pytest
import torch

from faltung import nn
from faltung.tools import check_autoregressive


@pytest.mark.parametrize(("ndim", "size"), [(1, (6,)), (2, (4, 5)), (3, (2, 3, 3))])
def test_all_earlier_positions_are_seen_and_no_others(ndim, size):
    torch.manual_seed(0)
    stack = nn.GatedStack(ndim, 1, 3, kernel_size=3, layers=5)
    found = check_autoregressive(stack, (1, *size))
    assert found.holds, str(found)
    assert not found.unseen, str(found)


def test_a_plain_pile_has_a_blind_spot_to_the_right_above():
    torch.manual_seed(0)
    layers = [nn.MaskedConv2d(1, 2, 3, mask="A")] + [nn.MaskedConv2d(2, 2, 3, mask="B") for _ in range(7)]
    found = check_autoregressive(torch.nn.Sequential(*layers), (1, 5, 6))
    assert found.holds
    assert ((0, 1, 0), (0, 0, 2)) in [(r[:1] + r[1:], i) for r, i in found.unseen]
    assert all(i[1] < r[1] and i[2] > r[2] for r, i in found.unseen)  # all of it lies to the right above


def test_the_masks_of_all_stacks_together_are_the_raster_mask():
    stack = nn.GatedStack(3, 1, 1, kernel_size=3)
    strict = sum(stack.mask(axis, True).int() for axis in range(3))
    wanted = nn.MaskedConv(3, 1, 1, 3, mask="A").mask[0, 0].int()
    assert torch.equal(strict, wanted)  # each earlier tap belongs to exactly one stack
