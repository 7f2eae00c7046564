"""Long filters over images and volumes: impulses give the kernel, whole kernels and those by the distance, rates, first values."""

import itertools
import math

import pytest
import torch

from faltung.errors import ArgumentError
from faltung.nn import param_groups
from faltung.nn.sequence import DIRECTIONS, LongConv, LongConv1d, SGConv, SGConv1d, StateSpaceConv, StateSpaceConv1d

F64 = torch.float64

# Layers along the axes, and the layer of one axis of the same filters.
ALONG = {
    "states": (
        lambda words: StateSpaceConv(len(words), 3, 8, direction=words, skip=False, dtype=F64),
        lambda n, word: StateSpaceConv1d(3, 8, direction=word, skip=False, dtype=F64),
    ),
    "taps": (
        lambda words: LongConv(len(words), 3, (4, 6, 3)[: len(words)], True, words, squash=0.0, skip=False, dtype=F64),
        lambda n, word: LongConv1d(3, n, 1, word, squash=0.0, skip=False, dtype=F64),
    ),
    "pieces": (
        lambda words: SGConv(len(words), 3, (4, 6, 3)[: len(words)], "axes", words, 2, skip=False, dtype=F64),
        lambda n, word: SGConv1d(3, n, 2, direction=word, skip=False, dtype=F64),
    ),
}


@pytest.mark.parametrize(
    "words", [*itertools.product(DIRECTIONS, DIRECTIONS), ("causal", "bidirectional", "anticausal")]
)
@pytest.mark.parametrize("kind", ALONG)
@torch.no_grad()
def test_an_impulse_gives_the_outer_product_of_the_axes_filters(kind, words):
    torch.manual_seed(0)
    whole, line = ALONG[kind]
    layer, sizes, place = whole(words).eval(), (6, 7, 5)[: len(words)], (2, 3, 1)[: len(words)]
    x, wanted = torch.zeros(1, 3, *sizes, dtype=F64), torch.ones((), dtype=F64)
    x[(..., *place)] = 1
    for axis, (n, length, word, at) in enumerate(zip(sizes, (4, 6, 3), words, place, strict=False)):
        one = line(length, word).eval()
        one.load_state_dict(layer.axes[axis].state_dict())
        impulse = torch.zeros(1, 3, n, dtype=F64)
        impulse[..., at] = 1
        wanted = wanted * one(impulse).reshape(1, 3, *[1] * axis, n, *[1] * (len(sizes) - 1 - axis))
    assert torch.allclose(layer(x), wanted, atol=1e-12)
    assert wanted.abs().max() > 1e-6


@pytest.mark.parametrize("words", list(itertools.product(DIRECTIONS, DIRECTIONS)))
@torch.no_grad()
def test_where_the_taps_of_a_whole_kernel_stand(words):
    """The weight's places along an axis go from farthest ahead to farthest back."""
    torch.manual_seed(0)
    layer = LongConv(2, 2, (3, 4), direction=words, squash=0.0, skip=False, dtype=F64).eval()
    x = torch.zeros(1, 2, 7, 9, dtype=F64)
    x[..., 3, 4] = 1
    first = [0 if word == "causal" else 1 - n for n, word in zip((3, 4), words, strict=True)]
    wanted = torch.zeros_like(x)
    for i, j in itertools.product(*map(range, layer.weight.shape[1:])):
        wanted[0, :, 3 + first[0] + i, 4 + first[1] + j] = layer.weight[:, i, j]
    assert torch.allclose(layer(x), wanted, atol=1e-14)
    short = x[..., 2:5, 3:6]  # smaller than the kernel: what lies beyond the ends is lost
    assert torch.allclose(layer(short), wanted[..., 2:5, 3:6], atol=1e-14)


@torch.no_grad()
def test_a_whole_kernel_that_is_an_outer_product_is_separable():
    torch.manual_seed(0)
    apart = LongConv(2, 3, (4, 5), True, ("causal", "bidirectional"), squash=0.0, skip=False, dtype=F64).eval()
    whole = LongConv(2, 3, (4, 5), False, ("causal", "bidirectional"), squash=0.0, skip=False, dtype=F64).eval()
    rows, (back, ahead) = apart.axes[0].constructor.weight[:, 0], apart.axes[1].constructor.weight.unbind(1)
    columns = torch.cat([ahead[:, 1:].flip(-1), ahead[:, :1] + back[:, :1], back[:, 1:]], -1)
    whole.weight.copy_(rows[:, :, None] * columns[:, None])
    x = torch.randn(2, 3, 8, 7, dtype=F64)
    assert torch.allclose(whole(x), apart(x), atol=1e-14)
    assert whole.parameter_count() == 3 * 4 * 9
    assert apart.parameter_count() == 3 * (4 + 2 * 5)


@torch.no_grad()
def test_first_values_of_whole_kernels():
    torch.manual_seed(0)
    assert abs(LongConv(2, 32, 16, init="random").weight.std().item() / 0.002 - 1) < 0.02
    made = LongConv(2, 64, (16, 32), direction=("causal", "bidirectional")).weight
    for c in (0, 31, 63):
        far = torch.arange(16)[:, None] / 16 + torch.arange(-31, 32).abs() / 32
        assert abs((made[c] / (0.02 * torch.exp(-far * 32 ** (c / 64)))).std().item() - 1) < 0.15
    layer = LongConv(2, 4, 20, squash=0.0, dropout=0.3, skip=False, dtype=F64)
    kept = layer.train().kernel((20, 20), (1.0, 1.0))[0] != 0
    assert abs(kept.double().mean().item() - 0.7) < 0.03
    assert [group.get("lr") for group in param_groups(layer)][-1] == 1e-3


@pytest.mark.parametrize("ndim", [1, 2, 3])
@torch.no_grad()
def test_kernels_by_the_distance(ndim):
    """Equal at equal distances, of norm one at first, zero from the filter's end on; a ball, and the filter along an axis."""
    torch.manual_seed(0)
    layer = SGConv(ndim, 2, 8, "radius", piece=4, skip=False, dtype=F64)
    reach = layer.constructor.longest
    kernel, margins = layer.kernel((30,) * ndim, (1.0,) * ndim)
    assert margins == [(reach - 1, reach - 1)] * ndim
    kernel = kernel[:, 0]
    assert torch.allclose(kernel.flatten(1).norm(dim=1), torch.ones(2, dtype=F64), atol=1e-12)
    centre = reach - 1
    taps = layer.constructor.filters(reach)[:, 0] / layer.norm[:, None]
    assert torch.allclose(kernel[(slice(None), *[centre] * (ndim - 1))][:, centre:], taps)
    assert torch.allclose(kernel, kernel.flip(1))
    for place in itertools.product(range(-centre, reach), repeat=ndim):
        tap = kernel[(slice(None), *(centre + p for p in place))]
        assert torch.allclose(tap, kernel[(slice(None), *(centre + abs(p) for p in sorted(map(abs, place))))])
        if math.hypot(*place) >= reach:
            assert not tap.any()
    # What it is multiplied with stays when it learns, and comes back with the state.
    layer.constructor.weight.mul_(3)
    again = SGConv(ndim, 2, 8, "radius", piece=4, skip=False, dtype=F64)
    again.load_state_dict(layer.state_dict())
    assert torch.allclose(
        again.kernel((30,) * ndim, (1.0,) * ndim)[0].flatten(1).norm(dim=1), torch.full((2,), 3.0, dtype=F64)
    )


@pytest.mark.parametrize("words", [("causal", "bidirectional"), ("anticausal", "causal")])
@torch.no_grad()
def test_one_sided_kernels_by_the_distance_have_norm_one(words):
    torch.manual_seed(0)
    layer = SGConv(2, 3, 16, "radius", words, 4, skip=False, dtype=F64)
    kernel = layer.kernel((99, 99), (1.0, 1.0))[0]
    assert torch.allclose(kernel.flatten(1).norm(dim=1), torch.ones(3, dtype=F64), atol=1e-12)
    assert kernel.shape[2:] == tuple(31 if word == "bidirectional" else 16 for word in words)


MADE = {
    "whole": lambda words: LongConv(2, 2, (5, 6), False, words, squash=0.0, smooth=3, dtype=F64),
    "separable": lambda words: LongConv(2, 2, (5, 6), True, words, squash=0.0, dtype=F64),
    "axes": lambda words: SGConv(2, 2, (5, 6), "axes", words, 2, dtype=F64),
    "radius": lambda words: SGConv(2, 2, 6, "radius", words, 2, dtype=F64),
}


@pytest.mark.parametrize("rate", [0.6, (1.7, 1.0)])
@pytest.mark.parametrize("words", [("bidirectional", "causal"), ("anticausal", "bidirectional")])
@pytest.mark.parametrize("kind", MADE)
@torch.no_grad()
def test_layers_are_their_definition_at_every_rate(kind, words, rate):
    torch.manual_seed(0)
    layer, x = MADE[kind](words).eval(), torch.randn(1, 2, 7, 6, dtype=F64)
    assert torch.allclose(layer(x, rate), layer.definition(x, rate), atol=1e-12)


@pytest.mark.parametrize("kind", ["whole", "radius"])
@torch.no_grad()
def test_the_rate_keeps_sums(kind):
    """A smooth kernel asked at half the places is as large in sum."""
    layer = {
        "whole": lambda: LongConv(2, 1, 60, squash=0.0, skip=False, dtype=F64),
        "radius": lambda: SGConv(2, 1, 64, "radius", piece=64, skip=False, dtype=F64),
    }[kind]().eval()
    line = torch.arange(-59.0, 60, dtype=F64)
    if kind == "whole":
        layer.weight.copy_(torch.exp(-(line[:, None] ** 2 + (line - 5) ** 2) / 200)[None])
    else:
        layer.constructor.weight.copy_(torch.exp(-(torch.arange(64.0, dtype=F64) ** 2) / 200)[None, None, None])
    one, two = (layer.kernel((200, 200), (rate, rate))[0] for rate in (1.0, 2.0))
    assert abs(two.sum() / one.sum() - 1) < 0.01


def test_wrong_settings_get_a_sentence():
    for make, word in (
        (lambda: LongConv(2, 3, (4, 5, 6)), "length"),
        (lambda: LongConv(2, 3, 4, separable=1), "separable"),
        (lambda: LongConv(2, 3, 4, direction="both"), "direction"),
        (lambda: LongConv(2, 3, 4, direction=("causal",)), "direction"),
        (lambda: LongConv(2, 3, 4, init="zeros"), "init"),
        (lambda: LongConv(2, 3, 4, dropout=1), "dropout"),
        (lambda: LongConv(2, 3, 4, smooth=2), "window"),
        (lambda: SGConv(2, 3, 4, "ring"), "along"),
        (lambda: SGConv(2, 3, (4, 5), "radius"), "max_length"),
        (lambda: SGConv(2, 3, 4, piece=0), "piece"),
        (lambda: LongConv(2, 3, 4)(torch.zeros(1, 3, 5, 5), (1.0,)), "rate"),
        (lambda: SGConv(2, 3, 4)(torch.zeros(1, 3, 5, 5), 0), "rate"),
    ):
        with pytest.raises(ArgumentError, match=word):
            make()


LONG = {
    "radius": lambda **how: SGConv(2, 2, 300, "radius", piece=4, skip=False, **how),
    "steep": lambda **how: SGConv(2, 2, 300, "radius", piece=4, skip=False, power=(0.5, 0.6), **how),
    "pieces": lambda **how: SGConv(2, 2, 300, "axes", piece=4, skip=False, **how),
    "taps": lambda **how: LongConv(2, 2, 300, init="random", squash=0.0, skip=False, **how),
}


@pytest.mark.parametrize("rate", [1.0, 0.75])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", LONG)
@torch.no_grad()
def test_places_are_counted_in_more_than_half_precision(kind, dtype, rate):
    """Taps far out are those of the layer in float64 of the same parameters, to the rounding of the taps alone."""
    torch.manual_seed(0)
    layer = LONG[kind]().eval().to(dtype)
    wanted = LONG[kind]().eval().double()
    wanted.load_state_dict(layer.state_dict())
    if layer.axes is None:
        found, exact = (each.kernel((280, 290), (rate, rate))[0].double() for each in (layer, wanted))
    else:
        found, exact = (each.axes[0].constructor.filters(280, rate).double() for each in (layer, wanted))
    assert found.shape == exact.shape
    assert (found - exact).abs().max() <= 8 * torch.finfo(dtype).eps * exact.abs().max()
    far = exact.flatten()[exact.flatten().abs() > 0.02 * exact.abs().max()]
    assert len(far) > 100


@pytest.mark.parametrize("make", [
    lambda: SGConv(2, 2, 5, piece=2), lambda: SGConv(2, 2, 5, "radius", piece=2), lambda: LongConv(2, 2, 5),
    lambda: LongConv(2, 2, 5, separable=True),
])  # fmt: skip
def test_parameters_are_drawn_again(make):
    torch.manual_seed(3)
    layer = make()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.reset_parameters()
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]) == (name == "skip"), name
    torch.manual_seed(3)
    assert all(torch.equal(value, before[name]) for name, value in make().state_dict().items())


@pytest.mark.parametrize(
    "words", [("bidirectional",) * 3, ("causal", "bidirectional"), ("anticausal", "causal", "causal")]
)
@torch.no_grad()
def test_a_kernel_by_the_radius_has_norm_one_at_first(words):
    layer = SGConv(len(words), 2, 9, "radius", words, piece=3, skip=False, dtype=F64)
    whole, _ = layer.kernel((99,) * len(words), (1.0,) * len(words))
    assert torch.allclose(whole.flatten(1).norm(dim=1), torch.ones(2, dtype=F64), atol=1e-12)
