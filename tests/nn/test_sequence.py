"""What layers with long filters share, on filters that are learnt tap by tap: conventions, ends, streams of the last samples."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from faltung.errors import ArgumentError
from faltung.nn.sequence import (
    DIRECTIONS,
    FilterConstructor,
    ImplicitConv1d,
    LongConv1d,
    MovingAverageConv1d,
    SequenceBlock,
    SequenceConv,
    SGConv1d,
    StateSpaceConv1d,
)

F64 = torch.float64


class Taps(FilterConstructor):
    """Every tap a parameter."""

    def __init__(self, channels: int, heads: int, longest: int) -> None:
        super().__init__()
        self.settle(channels, heads)
        self.longest = longest
        self.taps = nn.Parameter(torch.randn(channels, heads, longest, dtype=F64))

    def filters(self, length: int, rate: float = 1.0) -> Tensor:
        return pad(self.taps, (0, max(0, length - self.taps.shape[-1])))[..., :length]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("samples", [1, 4, 30])
@torch.no_grad()
def test_an_impulse_gives_the_filters(direction, samples):
    """At every place, whatever the signal's length: what lies beyond its ends is lost."""
    torch.manual_seed(0)
    made = SequenceConv(Taps(2, 2, 9), direction)
    taps = pad(made.constructor.taps, (0, 30))
    skip = made.skip.reshape(2, -1)
    for place in range(samples):
        x = torch.zeros(1, 2, samples, dtype=F64)
        x[..., place] = 1
        y = made(x).reshape(2, -1, samples)
        wanted = torch.zeros_like(y)
        wanted[..., place] += skip
        back, ahead = taps.split(1, 1) if direction == "bidirectional" else (taps, taps)
        for t in range(samples):
            if direction != "anticausal" and t >= place:
                wanted[..., t] += back[..., t - place]
            if direction != "causal" and t <= place:
                wanted[..., t] += ahead[..., place - t]
        assert torch.allclose(y, wanted, atol=1e-13)


@torch.no_grad()
def test_filters_that_end_run_as_streams():
    torch.manual_seed(0)
    made, x = SequenceConv(Taps(3, 2, 7)), torch.randn(2, 3, 40, dtype=F64)
    by_one, at_once, steps, pieces = made.initial_state(2), made.initial_state(2), [], []
    for now in x.unbind(-1):
        y, by_one = made.step(now, by_one)
        steps.append(y)
    for piece in x.split([1, 2, 20, 3, 14], -1):
        y, at_once = made.chunk(piece, at_once)
        pieces.append(y)
    assert torch.allclose(torch.stack(steps, -1), made(x), atol=1e-12)
    assert torch.allclose(torch.cat(pieces, -1), made(x), atol=1e-12)
    assert torch.equal(by_one.memory, x[..., -6:])


def test_length_cuts_filters_off():
    made, x = SequenceConv(Taps(1, 1, 9), skip=False, length=4), torch.zeros(1, 1, 12, dtype=F64)
    x[..., 0] = 1
    y = made(x).flatten()
    assert (y[:4] != 0).all()
    assert (y[4:] == 0).all()
    with pytest.raises(ArgumentError, match="cut off"):
        made.initial_state(1)
    assert SequenceConv(Taps(1, 1, 9), length=9).initial_state(1).memory.shape == (1, 1, 8)
    made.constructor.longest = None
    with pytest.raises(ArgumentError, match="filters that end"):
        SequenceConv(made.constructor).initial_state(1)


LONG = {
    "taps": lambda **options: LongConv1d(2, 9, squash=0, dropout=0.0, dtype=F64, **options),
    "pieces": lambda **options: SGConv1d(2, 9, 3, dtype=F64, **options),
    "implicit": lambda **options: ImplicitConv1d(2, 9, dtype=F64, **options),
    "states": lambda **options: StateSpaceConv1d(2, 8, dtype=F64, **options),
    "averages": lambda **options: MovingAverageConv1d(2, dtype=F64, **options),
}


@pytest.mark.parametrize("make", LONG.values(), ids=LONG)
@torch.no_grad()
def test_layers_look_where_they_are_told(make):
    """Ahead is back with time reversed; both are the sum of a layer that looks back and one that looks ahead."""
    x = torch.randn(2, 2, 30, dtype=F64)
    layers = {}
    for word in DIRECTIONS:
        torch.manual_seed(0)
        layers[word] = make(direction=word, skip=False)
    back, ahead = layers["causal"], layers["anticausal"]
    ahead.load_state_dict(back.state_dict())
    assert torch.allclose(ahead(x), back(x.flip(-1)).flip(-1), atol=1e-13)
    both = layers["bidirectional"]
    assert both.heads == 1
    taps = both.constructor.filters(both.taps(30))
    y = torch.zeros_like(x)
    for lag in range(taps.shape[-1]):
        y[..., lag:] += taps[:, 0, lag, None] * x[..., : 30 - lag]
        y[..., : 30 - lag] += taps[:, 1, lag, None] * x[..., lag:]
    assert torch.allclose(both(x), y, atol=1e-12)
    with pytest.raises(ArgumentError, match="direction"):
        make(direction="both")
    with pytest.raises(ArgumentError, match="causal"):
        ahead.initial_state(1)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_masked_samples_are_zeros_whatever_stands_there(direction):
    """Signals of several lengths in one batch: each as if it were alone, followed by zeros; nothing flows back to the padding."""
    torch.manual_seed(0)
    made = SequenceConv(Taps(2, 2, 9), direction)
    x, mask = torch.randn(3, 2, 20, dtype=F64), torch.arange(20) < torch.tensor([20, 13, 1])[:, None]
    x[~mask[:, None].expand_as(x)] = float("nan")
    x.requires_grad_()
    y = made(x, mask=mask)
    for row, length in zip(range(3), (20, 13, 1), strict=True):
        alone = pad(x[row : row + 1, :, :length], (0, 20 - length))
        assert torch.allclose(y[row], made(alone)[0], atol=1e-13)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope.isfinite().all()
    assert not slope[~mask[:, None].expand_as(x)].any()
    block = SequenceBlock(made)
    assert torch.equal(block(x, 1.0, mask), block(x.nan_to_num(), mask=mask))
    for wrong in (mask.double(), mask[:, 1:], True):
        with pytest.raises(ArgumentError, match="mask"):
            made(x, mask=wrong)
