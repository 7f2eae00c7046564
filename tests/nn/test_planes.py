"""Depthwise convolution into channels that are there: the definition, and nothing else is touched."""

import pytest
import torch

from faltung.errors import ArgumentError
from faltung.nn.functional import BOUNDARY, can_fill_planes, conv, fill_planes


@pytest.mark.parametrize("padding_mode", sorted(BOUNDARY))
@pytest.mark.parametrize(("n", "taps"), [((9,), (5,)), ((6, 70), (3, 3)), ((4, 5), (1, 11)), ((3, 4, 5), (3, 1, 3))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_a_depthwise_convolution_that_keeps_the_size(n, taps, padding_mode, dtype):
    torch.manual_seed(0)
    whole, weight, bias = (
        torch.randn(2, 5, *n, dtype=dtype),
        torch.randn(3, 1, *taps, dtype=dtype),
        torch.randn(3, dtype=dtype),
    )
    pads = tuple(t // 2 for t in taps)
    given = whole.clone()
    wanted = conv(whole[:, 1:4], weight, bias, 1, pads, 1, 3, padding_mode)
    out = torch.full((2, 4, *n), 7.0, dtype=dtype)
    fill_planes(whole[:, 1:4], weight, bias, out[:, :3], padding_mode)
    torch.testing.assert_close(out[:, :3], wanted)
    assert (out[:, 3] == 7).all()
    assert torch.equal(whole, given)
    fill_planes(whole[:, 1:4], weight, bias, whole[:, 1:4], padding_mode)  # in place
    assert torch.equal(whole[:, 1:4], out[:, :3])
    assert torch.equal(whole[:, [0, 4]], given[:, [0, 4]])


def test_an_infinity_stays_within_reach():
    x = torch.zeros(1, 1, 9)
    x[..., 4] = torch.inf
    out = torch.empty_like(x)
    fill_planes(x, torch.ones(1, 1, 3), None, out)
    assert out.isinf().flatten().tolist() == [abs(i - 4) <= 1 for i in range(9)]
    assert (out[out.isfinite()] == 0).all()


def test_what_it_cannot_fill_is_said():
    x, weight = torch.ones(2, 3, 4, 4), torch.ones(3, 1, 3, 3)
    assert can_fill_planes(x, x, weight)
    assert not can_fill_planes(x, x, weight.clone().requires_grad_())
    assert not can_fill_planes(x.half(), x.half(), weight.half())
    assert not can_fill_planes(x, x, weight.double())
    assert not can_fill_planes(x.to(memory_format=torch.channels_last), x, weight)
    assert can_fill_planes(x[:, :1], x[:, 1:2], weight[:1])
    with pytest.raises(ArgumentError, match="no_grad"):
        fill_planes(x, weight.clone().requires_grad_(), None, x)
    for wrong in (torch.ones(3, 1, 2, 3), torch.ones(2, 1, 3, 3), torch.ones(3, 1, 3), torch.ones(3, 2, 3, 3)):
        with pytest.raises(ArgumentError, match="odd taps"):
            fill_planes(x, wrong, None, torch.empty_like(x))
    with pytest.raises(ArgumentError, match="odd taps"):
        fill_planes(x, weight, torch.ones(2), x)
    fill_planes(x[:0], weight, None, x[:0])  # nothing to do
