"""What every constructor of long filters keeps: steps that are the convolution, the plain layer it is, memory that is no table."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from faltung.errors import ArgumentError
from faltung.nn.sequence import (
    CONSTRUCTORS,
    DIRECTIONS,
    DampedMovingAverage,
    DenseStateSpace,
    DiagonalStateSpace,
    FreeFilter,
    ImplicitFilter,
    LowRankStateSpace,
    MovingAverage,
    MultiScale,
    SequenceConv,
)

F64 = torch.float64

# Every constructor with every first value of its dynamics: from channels, heads, and the samples that filters are to reach.
MAKERS = {
    **{
        init: lambda channels, heads, length, init=init, **options: DiagonalStateSpace(
            channels, heads=heads, init=init, **options
        )
        for init in ("s4d-lin", "s4d-inv", "s4d-legs", "s4d-real")
    },
    **{
        f"dplr {init}": lambda channels, heads, length, init=init, **options: LowRankStateSpace(
            channels, heads=heads, init=init, **options
        )
        for init in ("legs", "legt", "lagt", "fourier")
    },
    **{
        f"dense {init}": lambda channels, heads, length, init=init, **options: DenseStateSpace(
            channels, heads=heads, init=init, **options
        )
        for init in ("legs", "legt", "lmu", "lagt", "fourier")
    },
    **{
        f"s4d-lin {disc}": lambda channels, heads, length, disc=disc, **options: DiagonalStateSpace(
            channels, heads=heads, disc=disc, **options
        )
        for disc in ("bilinear", "backward")
    },
    **{
        f"dense legs {disc}": lambda channels, heads, length, disc=disc, **options: DenseStateSpace(
            channels, heads=heads, disc=disc, **options
        )
        for disc in ("zoh", "backward")
    },
    # Steps of the forward Euler method stay bounded for decays that are slow against the step, without oscillation.
    "s4d-real euler": lambda channels, heads, length, **options: DiagonalStateSpace(
        channels, state=16, heads=heads, init="s4d-real", disc="euler", dt=(0.001, 0.1), **options
    ),
    "krylov": lambda channels, heads, length, **options: DenseStateSpace(
        channels, heads=heads, method="krylov", **options
    ),
    "averages": lambda channels, heads, length, **options: MovingAverage(channels, heads, (2, length), **options),
    "damped": lambda channels, heads, length, **options: DampedMovingAverage(channels, heads=heads, **options),
    "free": lambda channels, heads, length, **options: FreeFilter(channels, length, heads, **options),
    "pieces": lambda channels, heads, length, **options: MultiScale(channels, length, heads=heads, **options),
    "implicit": lambda channels, heads, length, **options: ImplicitFilter(channels, length, heads, **options),
}


def made_by(name, channels, heads, length, dtype=F64):
    torch.manual_seed(0)
    return MAKERS[name](channels, heads, length, dtype=dtype)


def off(got, wanted):
    return ((got.double() - wanted.double()).abs().max() / wanted.double().abs().max()).item()


def stepped(layer, x):
    state, results = layer.initial_state(len(x)), []
    for now in x.unbind(-1):
        y, state = layer.step(now, state)
        results.append(y)
    return torch.stack(results, -1)


def test_every_constructor_is_there():
    assert {type(made_by(name, 1, 1, 4)) for name in MAKERS} == set(CONSTRUCTORS)


# Steps and the convolution


def check_steps(name, dtype, steps, allowed):
    """Both ways against each other, and in single precision also against the same numbers in double precision."""
    # Filters that end forget all beyond their ends, so that no more taps than these could drift apart.
    layer = SequenceConv(made_by(name, 2, 1, min(steps, 500), dtype)).eval()
    x = torch.randn(1, 2, steps, dtype=dtype)
    by_steps, whole = stepped(layer, x), layer(x)
    assert by_steps.dtype == whole.dtype == dtype
    assert off(by_steps, whole) < allowed
    judge = copy.deepcopy(layer).double()(x.double())
    assert off(by_steps, judge) < allowed
    assert off(whole, judge) < allowed


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_steps_are_the_convolution(name, dtype):
    check_steps(name, dtype, 200, 1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_steps_stay_with_the_convolution_for_16k_steps(name, dtype):
    check_steps(name, dtype, 16_384, 1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("disc", ["zoh", "bilinear", "backward", "euler", 0.3])
@pytest.mark.parametrize("kind", [DiagonalStateSpace, DenseStateSpace])
def test_filters_have_the_derivatives_of_finite_differences_whatever_the_step(kind, disc):
    torch.manual_seed(0)
    made = kind(1, state=4, heads=2, disc=disc, dt=(0.05, 0.2), dtype=F64)
    names, values = zip(*((name, p.detach().requires_grad_()) for name, p in made.named_parameters()), strict=True)

    def filters(*given):
        return torch.func.functional_call(
            _Filters(made), {f"made.{n}": p for n, p in zip(names, given, strict=True)}, (9,)
        )

    assert torch.autograd.gradcheck(filters, values)


class _Filters(nn.Module):
    """A constructor's filters as a call, which torch can make with other parameters."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self, length):
        return self.made.filters(length)


# The plain layer


@pytest.mark.parametrize("rate", [1.0, 1.7])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_frozen_it_is_a_plain_layer(name, direction, skip, rate):
    heads = 4 if direction == "bidirectional" else 2
    layer = SequenceConv(
        made_by(name, 3, heads, 40), direction, skip
    )  # in training: taps that are dropped stay out of it
    plain = layer.freeze(40, rate)
    convs = [part for part in plain.modules() if isinstance(part, nn.Conv1d)]
    assert len(convs) == 1
    assert convs[0].groups == 3
    layer.eval()
    kernel = layer.effective_kernel(40, rate)
    assert torch.equal(kernel, convs[0].weight)
    for samples in (1, 23, 40):
        x = torch.randn(2, 3, samples, dtype=F64)
        assert off(plain(x), layer(x, rate)) < 1e-12
    x = torch.randn(2, 3, 70, dtype=F64)
    layer.length = 40
    assert off(plain(x), layer(x, rate)) < 1e-12


def test_kernels_learn_and_frozen_ones_are_apart():
    layer = SequenceConv(made_by("s4d-lin", 2, 1, 9))
    layer.effective_kernel(9).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())
    plain = layer.freeze(9)
    before = plain[1].weight.clone()
    with torch.no_grad():
        layer.skip.add_(1)
    assert torch.equal(plain[1].weight, before)
    for call in (layer.freeze, layer.effective_kernel):
        with pytest.raises(ArgumentError, match="length"):
            call(0)
        with pytest.raises(ArgumentError, match="rate"):
            call(5, -1)


# Memory


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest result of any operation has, views of one number for many not counted."""

    numel = 0

    def __torch_dispatch__(self, function, types, arguments=(), settings=None):
        result = function(*arguments, **(settings or {}))
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, torch.Tensor):
                self.numel = max(self.numel, min(one.numel(), one.untyped_storage().nbytes() // one.element_size()))
        return result


def largest(made, length):
    """The largest array while filters and their derivatives are computed."""
    with Largest() as seen:
        torch.autograd.grad(made.filters(length).square().sum(), list(made.parameters()))
    return seen.numel


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith(("s4d", "dense", "dplr", "damped"))])
def test_no_array_holds_all_powers(name, monkeypatch):
    """Forwards and backwards: nothing as large as (channels, state, length), nor near it."""
    from faltung.nn.sequence import low_rank

    channels, length = 4, 1 << 14
    made = made_by(name, channels, 1, length)
    allowed = 2 * channels * length
    monkeypatch.setattr(low_rank, "AT_ONCE", allowed)
    lists = max(channels * made.state**2, 4 * channels * made.state * math.isqrt(length))
    assert max(allowed, lists) <= channels * made.state * length / 8
    assert largest(made, length) <= max(allowed, lists)


@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith(("s4d", "dense", "dplr", "damped"))])
def test_no_array_of_a_layer_holds_all_powers(name, monkeypatch):
    """The whole layer forwards and backwards, and pieces of a stream: nothing near (channels, state, samples)."""
    from faltung.nn.sequence import low_rank

    channels, length = 4, 1 << 14
    layer = SequenceConv(made_by(name, channels, 1, length))
    allowed = 2 * channels * length  # such as the real and imaginary parts of one filter's spectrum
    assert allowed <= channels * layer.constructor.state * length / 8
    monkeypatch.setattr(low_rank, "AT_ONCE", allowed)
    x = torch.randn(1, channels, length, dtype=F64, requires_grad=True)
    with Largest() as whole:
        torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    with Largest() as pieces, torch.no_grad():
        found = []
        now = layer.initial_state(1)
        for piece in x.split(length // 2, -1):
            y, now = layer.chunk(piece, now)
            found.append(y)
    assert whole.numel <= allowed
    assert pieces.numel <= allowed
    with torch.no_grad():
        assert off(torch.cat(found, -1), layer(x)) < 1e-9


def test_a_list_of_all_powers_would_be_seen():
    made = made_by("krylov", 4, 1, 1)
    assert largest(made, 1 << 14) >= 4 * 64 << 14
    assert DenseStateSpace(1).method == "dense"
