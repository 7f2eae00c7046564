"""Layers that commute with down-scaling: the reference errors, convolutions at full size, shifts together with scales."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.functional import resample_ideal, shift_ideal
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.phase import scale_equivariance_error, scale_order_loss


def off(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def paper(f, x, size):
    """‖D f(x) − f(D x)‖² / (‖D f(x)‖² + 1e-6)."""
    wanted = resample_ideal(f(x), size)
    return ((wanted - f(resample_ideal(x, size))).square().sum() / (wanted.square().sum() + 1e-6)).item()


@pytest.mark.parametrize("size", [29, 21, 15, 9])
def test_the_reference_errors_of_relu(size):
    x = torch.randn(1, 1, 31, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layer = nn.ScaleNonlinearity1d()
    down = resample_ideal(x, (size,))
    assert off(layer(down), resample_ideal(layer(x), (size,))) < 1e-14
    assert off(down.relu(), resample_ideal(x.relu(), (size,))) > 0.02


def test_a_quadratic_on_a_finer_grid_commutes_with_scales_and_shifts():
    x = torch.randn(1, 1, 31, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    joint, scale_only = nn.ScaleNonlinearity1d("square", up=2), nn.ScaleNonlinearity1d("square")
    for layer in (joint, scale_only):
        assert off(layer(resample_ideal(x, (15,))), resample_ideal(layer(x), (15,))) < 1e-14
    for shift in (0.3, 5.0):
        assert off(joint(shift_ideal(x, (shift,))), shift_ideal(joint(x), (shift,))) < 1e-14
    assert off(scale_only(shift_ideal(x, (0.3,))), shift_ideal(scale_only(x), (0.3,))) > 0.1
    kinked = nn.ScaleNonlinearity1d()
    assert off(kinked(shift_ideal(x, (5.0,))), shift_ideal(kinked(x), (5.0,))) > 0.1


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.tuples(st.integers(4, 8), st.integers(4, 8)).map(lambda s: (2 * s[0] + 1, 2 * s[1] + 1)),
    taps=st.sampled_from([1, 3, None]), base=st.integers(1, 3), data=st.data(),
)  # fmt: skip
def test_a_stack_commutes_at_every_resolution_also_where_it_is_not_square(sizes, taps, base, data):
    torch.manual_seed(0)
    top = data.draw(st.integers(base, max(sizes) // 2))
    small = tuple(min(n, 2 * top + 1) for n in sizes)
    net = torch.nn.Sequential(
        nn.ScaleFourierConv2d(2, 3, 9, taps), nn.ScaleNonlinearity2d("relu", base),
        nn.ScaleFourierConv2d(3, 2, 9, taps), nn.ScaleNonlinearity2d("tanh", base, norm=True),
    ).double()  # fmt: skip
    x = torch.randn(1, 2, *sizes, dtype=torch.float64)
    y = net(x)
    assert y.dtype == torch.float64
    assume(resample_ideal(y, small).abs().max() > 1e-3)  # not where relu has left a constant, which the norm makes 0
    assert paper(net, x, small) < 1e-24
    assert off(net(resample_ideal(x, small)), resample_ideal(y, small)) < 1e-11


def test_steps_are_exact_where_they_stop_and_not_between():
    x = torch.randn(2, 1, 21, dtype=torch.float64)
    layer = nn.ScaleNonlinearity1d(base=2, step=4)
    assert off(layer(resample_ideal(x, (13,))), resample_ideal(layer(x), (13,))) < 1e-13  # r = 6
    assert off(layer(resample_ideal(x, (15,))), resample_ideal(layer(x), (15,))) > 1e-4  # r = 7


def test_a_maximum_over_neighbours_commutes_with_scales_where_it_is_taken_ring_by_ring():
    x, pool = torch.randn(1, 2, 15, 13, dtype=torch.float64), torch.nn.MaxPool2d(3, 1, 1)
    layer, down = nn.ScaleNonlinearity2d(pool), (9, 9)
    assert off(layer(resample_ideal(x, down)), resample_ideal(layer(x), down)) < 1e-13
    assert off(pool(resample_ideal(x, down)), resample_ideal(pool(x), down)) > 0.1


@pytest.mark.parametrize("sizes", [(7, 7), (9, 5)])
def test_with_all_taps_it_is_an_ordinary_circular_convolution(sizes):
    torch.manual_seed(0)
    layer = nn.ScaleFourierConv2d(2, 3, sizes).double()
    x = torch.randn(2, 2, *sizes, dtype=torch.float64)
    pads = tuple(((n - 1) // 2, n // 2) for n in sizes)
    wanted = conv_by_taps(x, layer.weight, layer.bias, (1, 1), pads, (1, 1), 1, "circular")
    torch.testing.assert_close(layer(x), wanted, rtol=0, atol=1e-12)


def test_exact_after_training_steps():
    torch.manual_seed(0)
    layers = (nn.ScaleFourierConv1d(1, 4, 15, 5), nn.ScaleNonlinearity1d(), nn.ScaleFourierConv1d(4, 1, 15, 5))
    net = torch.nn.Sequential(*layers).double()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    x = torch.randn(8, 1, 15, dtype=torch.float64)
    for _ in range(3):
        optimizer.zero_grad()
        (net(x) - x.square()).square().mean().backward()
        optimizer.step()
    assert paper(net, x, (9,)) < 1e-24


def test_wrong_settings_are_refused():
    with pytest.raises(ArgumentError):
        nn.ScaleFourierConv2d(1, 1, 3, 5)
    with pytest.raises(ArgumentError):
        nn.ScaleNonlinearity2d("step")


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), base=st.integers(0, 9), up=st.integers(2, 3), seed=st.integers(0, 99))
def test_one_product_squares_all_rings(n, base, up, seed):
    """Against the same layer with a function of one's own, which goes ring by ring."""
    x = torch.randn(2, 3, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    fast, slow = nn.ScaleNonlinearity1d("square", base, up=up), nn.ScaleNonlinearity1d(torch.square, base, up=up)
    torch.testing.assert_close(fast(x), slow(x), rtol=0, atol=1e-13)
    y = x.clone().requires_grad_(), x.clone().requires_grad_()
    weights = torch.randn_like(x)
    slopes = [torch.autograd.grad((layer(z) * weights).sum(), z)[0] for layer, z in zip((fast, slow), y, strict=True)]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-12)


def test_spectra_start_with_the_published_mean_square():
    torch.manual_seed(0)
    for taps in (3, None):
        layer = nn.ScaleFourierConv2d(16, 64, 9, taps)
        found = layer.response((4, 4), torch.float32)
        assert found.abs().square().mean().item() == pytest.approx(1 / 16, rel=0.02)


def test_the_penalty_is_its_formula_and_prefers_low_frequencies():
    layer = nn.ScaleFourierConv2d(2, 3, 9, (5, 4)).double()
    weight, total = layer.weight.detach(), 0.0
    for i in range(5):
        for j in range(4):
            turns = [torch.exp(-2j * torch.pi * k * torch.arange(t) / t) for k, t in ((i, 5), (j, 4))]
            mode = torch.einsum("oiab,a,b->oi", weight.cdouble(), *(t.cdouble() for t in turns))
            decay = 30 * torch.exp(torch.tensor(-10 * ((i / 5 - 0.5) ** 2 + (j / 4 - 0.5) ** 2)).double())
            total += (mode.abs() * decay).square().sum()
    torch.testing.assert_close(layer.penalty(), total.sqrt() + weight.norm())
    smooth, rough = (nn.ScaleFourierConv1d(1, 1, 8, 8).double() for _ in range(2))
    with torch.no_grad():
        smooth.weight.fill_(1)
        rough.weight.copy_((-1.0) ** torch.arange(8))
    assert rough.penalty() > 10 * smooth.penalty()
    layer.penalty().backward()
    assert layer.weight.grad.isfinite().all()


def test_a_head_on_all_sizes_says_what_the_network_says_of_each():
    """Features commute with down-scaling, so one pass gives the results for all sizes; the paper's error is 0 of them alone."""
    torch.manual_seed(0)
    features = torch.nn.Sequential(
        nn.ScaleFourierConv2d(1, 4, 9, 5), nn.ScaleNonlinearity2d(base=2), nn.ScaleFourierConv2d(4, 3, 9, 5)
    ).double()
    head = torch.nn.Sequential(torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 5)).double()
    x = torch.randn(2, 1, 15, 13).double()
    stack = nn.ScaleStack(head, (7, 3, 5))
    found = stack(features(x))
    assert stack.tops == (3, 5, 7)
    for n, top in enumerate(stack.tops):
        small = resample_ideal(x, (min(15, 2 * top + 1), min(13, 2 * top + 1)))
        torch.testing.assert_close(found[:, n], head(features(small)), rtol=0, atol=1e-11)
    errors = scale_equivariance_error(features, x, (9, 9))
    assert errors.shape == (2,)
    assert errors.max() < 1e-24
    plain = torch.nn.Sequential(nn.ScaleFourierConv2d(1, 4, 9, 5), torch.nn.ReLU()).double()
    assert scale_equivariance_error(plain, x, (9, 9)).min() > 1e-4
    assert scale_equivariance_error(plain, x, (9, 9))[0].item() == pytest.approx(paper(plain, x[:1], (9, 9)))
    target = torch.tensor([1, 4])
    losses = torch.nn.functional.cross_entropy(
        found.detach().flatten(0, 1), target.repeat_interleave(3), reduction="none"
    )
    by_hand = sum(max(0.0, float(row[k] - row[k - 1])) for row in losses.reshape(2, 3) for k in (1, 2)) / 2
    assert scale_order_loss(losses.reshape(2, 3), 1.0).item() == pytest.approx(by_hand)
    assert scale_order_loss(torch.tensor([3.0, 2.0, 2.0])) == 0
    assert scale_order_loss(torch.tensor([1.0, 2.0, 1.0])).item() == pytest.approx(1e-3)


def test_stacks_and_losses_of_nothing_are_refused():
    for call in (
        lambda: nn.ScaleStack(torch.nn.Identity(), ()), lambda: nn.ScaleStack(torch.nn.Identity(), (-1,)),
        lambda: scale_order_loss(torch.tensor(1.0)), lambda: scale_order_loss(torch.ones(3), -1),
        lambda: scale_equivariance_error(torch.nn.Flatten(), torch.randn(1, 1, 9), (5,)),
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            call()
