"""The contract suite itself: fed with layers that are wrong in one way each, it says so, by the check that is meant for it."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from faltung import nn as ours
from faltung.errors import ArgumentError
from faltung.nn.base import LINEAR, PER_SAMPLE, ConvLayer, Example, Layer, Symmetry, rolled
from faltung.nn.functional.definition import conv_by_taps
from faltung.testing import layer_symmetry, layers

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*autocast.*:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:.*should not be instantiated.*:DeprecationWarning"
    ),  # torch.compile on its own class
]


class Affine(Layer):
    """Right: a factor and a constant for each channel."""

    def __init__(self, channels, dtype=None, device=None):
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.rand(channels, 1, dtype=dtype, device=device) + 0.5)
        self.bias = nn.Parameter(torch.rand(channels, 1, dtype=dtype, device=device))

    def forward(self, input):
        self.expect(input, self.channels, 1)
        return input * self.weight + self.bias

    def definition(self, x):
        return torch.stack([x[:, c] * self.weight[c] + self.bias[c] for c in range(self.channels)], 1)

    def shapes(self, shape):
        return tuple(shape)

    def parameter_count(self):
        return 2 * self.channels

    @property
    def claims(self):
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self):
        yield rolled(1, 1)

    def gain(self):
        return self.weight.abs().max().item()

    @classmethod
    def examples(cls):
        yield Example({"channels": 3}, ((2, 3, 4),))


class Line(ConvLayer):
    """Right: a convolution along one axis, with the margin in front, so causal."""

    def __init__(self, channels, taps, dtype=None, device=None):
        super().__init__()
        self.settle(1, channels, channels, taps, padding=taps - 1)
        self.weight = nn.Parameter(torch.randn(self.weight_shape, dtype=dtype, device=device))
        self.bias = nn.Parameter(torch.randn(channels, dtype=dtype, device=device))

    def kernel(self):
        return self.weight

    def definition_kernel(self):
        return self.weight

    def parameter_count(self):
        return math.prod(self.weight_shape) + self.out_channels

    @property
    def claims(self):
        return super().claims | {"causal"}

    @classmethod
    def examples(cls):
        yield Example({"channels": 2, "taps": 3}, ((2, 2, 5),))


class Flow(Layer):
    """Right: invertible, with the logarithm of its determinant."""

    def __init__(self, channels, dtype=None, device=None):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(channels, 1, dtype=dtype, device=device))
        self.channels = channels

    def forward(self, input):
        self.expect(input, self.channels, 1)
        logdet = self.scale.sum() * input.shape[2]
        return input * self.scale.exp(), logdet.expand(input.shape[0])

    def inverse(self, y):
        return y * (-self.scale).exp()

    def definition(self, x):
        return x * math.e**self.scale, torch.stack([self.scale.sum() * x.shape[2]] * len(x)) if len(x) else x.new_empty(
            0
        )

    def shapes(self, shape):
        return tuple(shape), tuple(shape[:1])

    def parameter_count(self):
        return self.channels

    @property
    def claims(self):
        return frozenset({PER_SAMPLE, "invertible"})

    @classmethod
    def examples(cls):
        yield Example({"channels": 2}, ((2, 2, 3),))


class Turn(Layer):
    """Right: each pair of channels is turned by an angle, so lengths stay."""

    def __init__(self, pairs, dtype=None, device=None):
        super().__init__()
        self.pairs = pairs
        self.angle = nn.Parameter(torch.rand(pairs, 1, dtype=dtype, device=device))

    def forward(self, input):
        self.expect(input, 2 * self.pairs, 1)
        a, b = input.chunk(2, 1)
        cos, sin = self.angle.cos(), self.angle.sin()
        return torch.cat([a * cos - b * sin, a * sin + b * cos], 1)

    def definition(self, x):
        cos, sin = self.angle.cos(), self.angle.sin()
        p = self.pairs
        return torch.cat([x[:, :p] * cos - x[:, p:] * sin, x[:, :p] * sin + x[:, p:] * cos], 1)

    def shapes(self, shape):
        return tuple(shape)

    def parameter_count(self):
        return self.pairs

    @property
    def claims(self):
        return frozenset({LINEAR, PER_SAMPLE, "norm-preserving"})

    @classmethod
    def examples(cls):
        yield Example({"pairs": 2}, ((2, 4, 3),))


RIGHT = (Affine, Line, Flow, Turn)
WRONG = []


def caught_by(*checks):
    """Register a wrong layer with the check that is meant for it, and those that must fail, too, by what they compare."""

    def registered(kind):
        WRONG.append((kind, checks))
        return kind

    return registered


# What it is


@caught_by("rebuilds")
class ForgetsItsArguments(Affine):
    def __repr__(self):
        return f"{type(self).__name__}(2)" if self.channels == 3 else super().__repr__()


@caught_by("rebuilds")
class ForgetsItsState(Affine):
    def __init__(self, channels, dtype=None, device=None):
        super().__init__(channels, dtype, device)
        self.register_buffer("drawn", torch.rand(channels, 1, dtype=dtype, device=device), persistent=False)

    def forward(self, input):
        return super().forward(input) + self.drawn

    def definition(self, x):
        return super().definition(x) + self.drawn


@caught_by("rebuilds")
class CannotBePickled(Affine):
    def __init__(self, channels, dtype=None, device=None):
        super().__init__(channels, dtype, device)
        self.held = lambda x: x


@caught_by("shapes", "extremes")
class SaysWrongShapes(Affine):
    def shapes(self, shape):
        return (*shape[:2], shape[2] + 1)


@caught_by("shapes")
class IsBoundToItsDevice(Affine):
    def forward(self, input):
        held = torch.zeros(self.channels, 1, dtype=input.dtype, device="cpu")
        return super().forward(input) + held


@caught_by("counted")
class Miscounts(Affine):
    def parameter_count(self):
        return 2 * self.channels + 1


# What it computes


@caught_by("definition", "inference", "extremes", "linear")
class IsDefinedOtherwise(Affine):
    def definition(self, x):
        return super().definition(x) * (1 + 1e-6)


@caught_by("inference", "linear")  # the effective matrix is computed without gradients
class IsWrongWithoutGradients(Affine):
    """As where a kernel for inference has a fault of its own."""

    def forward(self, input):
        y = super().forward(input)
        return y if torch.is_grad_enabled() else y * (1 - 1e-6)


@caught_by("inference", "compiles")  # torch cannot trace the question
class IsWrongInInferenceMode(Affine):
    def forward(self, input):
        y = super().forward(input)
        return y * (1 + 1e-6) if torch.is_inference_mode_enabled() else y


@caught_by("inference")
class IsWrongWhereItIsFrozen(Affine):
    def forward(self, input):
        y = super().forward(input)
        return y if self.weight.requires_grad or not torch.is_grad_enabled() else y * (1 + 1e-6)


@caught_by("inference")
class ReadsMemoryInItsOrder(Affine):
    """Takes numbers as they lie, without a look at the strides."""

    def forward(self, input):
        if torch.is_grad_enabled() or input.is_contiguous():
            return super().forward(input)
        return super().forward(input.as_strided(input.shape, torch.empty(input.shape).stride()))


@caught_by("inference")
class WorksInPlaceWithoutGradients(Affine):
    def forward(self, input):
        y = super().forward(input)
        if not torch.is_grad_enabled():
            input.mul_(1 + 1e-12)
        return y


@caught_by("definition", "inference")
class LosesDigitsInSinglePrecision(Affine):
    def forward(self, input):
        return (super().forward(input) + 1e4) - 1e4


@caught_by("definition")
class ComputesInDoublePrecision(Affine):
    def forward(self, input):
        return super().forward(input) + torch.zeros(1, dtype=torch.float64, device=input.device)


class WrongSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.factor, None


@caught_by("gradient")
class WrongSlopeForInputs(Affine):
    def forward(self, input):
        return super().forward(WrongSlope.apply(input, 1.001))


@caught_by("gradient")
class WrongSlopeForParameters(Affine):
    def forward(self, input):
        self.expect(input, self.channels, 1)
        return input * WrongSlope.apply(self.weight, 0.5) + self.bias


@caught_by("trains")
class UnusedParameter(Affine):
    def __init__(self, channels, dtype=None, device=None):
        super().__init__(channels, dtype, device)
        self.unused = nn.Parameter(torch.ones(2, dtype=dtype, device=device))

    def parameter_count(self):
        return super().parameter_count() + 2


@caught_by("trains")
class ParameterTimesZero(UnusedParameter):
    def forward(self, input):
        return super().forward(input) + 0 * self.unused.sum()


@caught_by("trains", "gradient", "repeats", "compiles", "symmetric_slopes")
class SlopeIsNaN(Affine):
    def forward(self, input):
        return super().forward(input) + 0 * (input - input).sqrt()


@caught_by("repeats")
class OtherNumbersEachTime(Affine):
    def forward(self, input):
        noise = 1e-6 * torch.rand_like(input) if input.dtype == torch.float32 else 0
        return super().forward(input) + noise


@caught_by("repeats")
class OtherFirstValuesEachTime(Affine):
    made = 0

    def __init__(self, channels, dtype=None, device=None):
        super().__init__(channels, dtype, device)
        type(self).made += 1
        if dtype == torch.float32:
            nn.init.constant_(self.bias, type(self).made)


@caught_by("repeats", "exports")
class ChangesItsInput(Affine):
    def __init__(self, channels, dtype=None, device=None):
        super().__init__(channels, dtype, device)
        del self.weight

    def forward(self, input):
        self.expect(input, self.channels, 1)
        result = input + self.bias
        if input.dtype == torch.float32:
            with torch.no_grad():
                input.mul_(1 + 1e-6)
        return result

    def definition(self, x):
        return x + self.bias

    def parameter_count(self):
        return self.channels

    def gain(self):
        return 1.0


@caught_by("half")
class OverflowsInHalf(Affine):
    def forward(self, input):
        self.expect(input, self.channels, 1)
        if torch.is_autocast_enabled("cpu"):
            input = input.to(torch.get_autocast_dtype("cpu"))
        large = (1e5 * input) / 1e5
        return large * self.weight + self.bias


@caught_by("half")
class SumsInHalf(Layer):
    """A hundred and many small values, added one after the other in whatever type they come."""

    def __init__(self, channels, dtype=None, device=None):
        super().__init__()
        self.bias = nn.Parameter(torch.rand(channels, 1, dtype=dtype, device=device))

    def forward(self, input):
        self.expect(input, len(self.bias), 1)
        if torch.is_autocast_enabled("cpu"):
            input = input.to(torch.get_autocast_dtype("cpu"))
        total = torch.full_like(input[..., :1], 100)
        for part in input.sigmoid().split(1, -1):
            total = total + part / 5
        return total.to(self.bias.dtype) + self.bias

    def definition(self, x):
        return 100 + x.sigmoid().sum(-1, keepdim=True) / 5 + self.bias

    def shapes(self, shape):
        return (*shape[:2], 1)

    def parameter_count(self):
        return len(self.bias)

    @classmethod
    def examples(cls):
        yield Example({"channels": 1}, ((1, 1, 64),))


@caught_by("extremes")
class CrashesWithoutSamples(Affine):
    def forward(self, input):
        flat = super().forward(input).reshape(input.shape[0], -1)
        return flat.reshape(input.shape)


@caught_by("extremes")
class IsWrongForOnePixel(Affine):
    def forward(self, input):
        return super().forward(input) * (1 if input.shape[2] > 1 else 1.001)


@caught_by("refuses")
class CrashesOnWrongChannels(Affine):
    def forward(self, input):
        self.expect(input, None, 1)
        return input * self.weight + self.bias


@caught_by("refuses")
class TakesWholeNumbers(Affine):
    def forward(self, input):
        return super().forward(input if input.is_floating_point() else input.to(self.weight.dtype))


@caught_by("shapes")
class ReadsAValue(Affine):
    """torch traces this by now, but not without values."""

    def forward(self, input):
        return super().forward(input) + self.weight.detach().sum().item() * 0


@caught_by("compiles", "exports", "shapes")
class BreaksTheGraph(Affine):
    def forward(self, input):
        return super().forward(input if self.weight.sum().item() > 0 else input.clone())


@caught_by("compiles", "exports")
class IsCompiledToSomethingElse(Affine):
    def forward(self, input):
        return super().forward(input) * (1.01 if torch.compiler.is_compiling() else 1)


@caught_by("exports")
class IsExportedAsSomethingElse(Affine):
    def forward(self, input):
        return super().forward(input) * (1.01 if torch.compiler.is_exporting() else 1)


# What it claims


@caught_by("symmetric", "symmetric_slopes", "symmetric_trained")
class FalselyEquivariant(Line):
    def symmetries(self):
        yield Symmetry("mirrored", lambda x: x.flip(-1), lambda y: y.flip(-1))


@caught_by("symmetric", "symmetric_slopes", "symmetric_trained")
class FalselyEquivariantByALittle(Affine):
    """One of two claims is right; the other is missed by a share that no test of decisions would see."""

    def symmetries(self):
        yield from super().symmetries()
        yield Symmetry("sign", lambda x: -x, lambda y: 2 * self.bias * (1 + 1e-8) - y)


@caught_by("symmetric", "symmetric_trained")  # a constant has no slope
class FalselyEquivariantInItsSecondResult(Flow):
    def forward(self, input):
        y, logdet = super().forward(input)
        return y, logdet + 0.1 * torch.arange(logdet.shape[0], device=logdet.device)

    def definition(self, x):
        y, logdet = super().definition(x)
        return y, logdet + 0.1 * torch.arange(logdet.shape[0], device=logdet.device)

    def symmetries(self):
        yield Symmetry("samples the other way round", lambda x: x.flip(0), lambda y: y.flip(0))

    @property
    def claims(self):
        return frozenset()


@caught_by("symmetric", "symmetric_trained")
class KeepsTheListedElementsOnly(Affine):
    """Every other sample is another one: shifts by two are kept, and no test of those alone would see the rest."""

    def forward(self, input):
        return super().forward(input) + 0.1 * (torch.arange(input.shape[-1], device=input.device) % 2)

    def definition(self, x):
        return super().definition(x) + 0.1 * (torch.arange(x.shape[-1]) % 2)

    def symmetries(self):
        yield rolled(2, 1)

    def random_symmetries(self, random):
        yield rolled(2 * int(random.integers(8)) + 1, 1)


class Pairs(Layer):
    """Right: the distances of points from the ends of their vectors, which turn together."""

    def __init__(self, dtype=None, device=None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=dtype, device=device))

    def forward(self, input, ends):
        self.expect(input, 3, None)
        self.expect(ends, 3, None)
        if input.shape != ends.shape or input.ndim != 2:
            raise ArgumentError.of("Pairs", "two of one shape", f"{input.shape}, {ends.shape}", "match them")
        return self.weight * (input - ends).square().sum(1)

    def definition(self, x, ends):
        return sum(self.weight * (x[:, a] - ends[:, a]) ** 2 for a in range(3))

    def shapes(self, one, two):
        return tuple(one[:1])

    def parameter_count(self):
        return 1

    def symmetries(self):
        yield Symmetry("both axes rolled", lambda x, e: (x.roll(1, 1), e.roll(1, 1)), together=True)

    @classmethod
    def examples(cls):
        yield Example({}, ((2, 3), (2, 3)))


@caught_by("symmetric", "symmetric_slopes", "symmetric_trained")
class FalselyEquivariantInItsSecondInput(Pairs):
    """The first moves alone."""

    def symmetries(self):
        yield Symmetry("axes rolled", lambda x: x.roll(1, 1))


class WrongSlopeAtTheFirstPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return torch.cat([grad[..., :1] * (1 + 1e-6), grad[..., 1:]], -1)


@caught_by("symmetric_slopes")
class DerivativesKnowThePlace(Affine):
    """Results commute with shifts, derivatives do not, by less than finite differences see."""

    def forward(self, input):
        return super().forward(WrongSlopeAtTheFirstPlace.apply(input))


@caught_by("symmetric_trained")
class TrainsItsSymmetryAway(Affine):
    """What is learnt in training mode is a trend along the places."""

    def __init__(self, channels, dtype=None, device=None):
        super().__init__(channels, dtype, device)
        self.register_buffer("trend", torch.zeros(1, dtype=dtype, device=device))

    def forward(self, input):
        if self.training:
            with torch.no_grad():
                self.trend += 1e-6
        return super().forward(input) + self.trend * torch.arange(input.shape[-1], device=input.device)

    def definition(self, x):
        return super().definition(x) + self.trend * torch.arange(x.shape[-1])


@caught_by("bounded")
class FalselyBounded(Affine):
    def gain(self):
        return super().gain() * 0.999


@caught_by("bounded")
class FalselyBoundedAndNotLinear(Flow):
    """The slope is largest between the two halves of the line."""

    def forward(self, input):
        self.expect(input, self.channels, 1)
        return 3 * input.abs() * self.scale.exp()

    definition = forward

    def shapes(self, shape):
        return tuple(shape)

    @property
    def claims(self):
        return frozenset({PER_SAMPLE})

    def gain(self):
        return self.scale.exp().max().item()


@caught_by("linear")
class NotLinear(Affine):
    def forward(self, input):
        return super().forward(input) + 1e-6 * input.relu()

    def definition(self, x):
        return super().definition(x) + 1e-6 * x.relu()

    def gain(self):
        return super().gain() + 1e-5


@caught_by("shift-invariant")
class KnowsThePlace(Line):
    def forward(self, input):
        y = super().forward(input)
        return y * (1 + 1e-6 * torch.arange(y.shape[-1], device=y.device))

    def definition(self, x):
        y = super().definition(x)
        return y * (1 + 1e-6 * torch.arange(y.shape[-1]))


@caught_by("shift-invariant")
class SaysAnotherKernel(Line):
    def effective_kernel(self):
        return self.kernel() * (1 + 1e-6)


@caught_by("shift-invariant")
class FreezesWithoutBias(Line):
    def freeze(self):
        made = super().freeze()
        made.bias = None
        return made


@caught_by("definition", "inference", "extremes", "linear")
class DefinesAnotherKernel(Line):
    def definition_kernel(self):
        return self.weight * (1 + 1e-6)


@caught_by("per-sample", "linear")  # its effective matrix is that of a batch of impulses
class SeesTheOtherSamples(Affine):
    def forward(self, input):
        return super().forward(input) + 1e-6 * input.mean(0)

    def definition(self, x):
        return super().definition(x) + 1e-6 * x.mean(0)

    def gain(self):
        return None


@caught_by("causal")
class SeesTheFuture(Line):
    @property
    def pads(self):
        return ((self.kernel_size[0] - 2, 1),)

    def forward(self, input):
        shifted = nn.functional.pad(input, (0, 1))[..., 1:]
        return super().forward(input) + 1e-6 * nn.functional.pad(shifted, (0, 2))[:, :1]

    def definition(self, x):
        settings = ((1,), ((2, 2),), (1,))
        shifted = nn.functional.pad(x, (0, 1))[..., 1:]
        return conv_by_taps(x, self.weight, self.bias, *settings) + 1e-6 * nn.functional.pad(shifted, (0, 2))[:, :1]

    def shapes(self, shape):
        return (*shape[:2], shape[2] + 2)

    @property
    def claims(self):
        return frozenset({LINEAR, PER_SAMPLE, "causal"})


@caught_by("invertible")
class FalseInverse(Flow):
    def inverse(self, y):
        return super().inverse(y) * (1 + 1e-6)


@caught_by("invertible")
class FalseDeterminant(Flow):
    def forward(self, input):
        y, logdet = super().forward(input)
        return y, logdet * (1 + 1e-6)

    def definition(self, x):
        y, logdet = super().definition(x)
        return y, logdet * (1 + 1e-6)


@caught_by("norm-preserving")
class Grows(Turn):
    def forward(self, input):
        return super().forward(input) * (1 + 1e-6)

    def definition(self, x):
        return super().definition(x) * (1 + 1e-6)


def failures(kind):
    """The checks that refuse a layer."""
    failed = set()
    for case in layers.cases([kind]):
        for name, check in layers.applicable(case).items():
            try:
                check(case)
            except Exception:  # whatever stops a check: that it does not pass is what is asked
                failed.add(name)
    return failed


@pytest.mark.parametrize("kind", [*RIGHT, Pairs], ids=lambda kind: kind.__name__)
def test_right_layers_pass(kind):
    assert failures(kind) == set()


@pytest.mark.parametrize(("kind", "checks"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_wrong_layers_are_caught_by_the_check_meant_for_them(kind, checks):
    assert failures(kind) == set(checks)


def test_every_check_has_a_wrong_layer():
    assert {checks[0] for _, checks in WRONG} == set(layers.CHECKS) | set(layers.CLAIMS)


def test_every_declared_symmetry_is_measured(monkeypatch):
    """The check is `faltung.certify.equivariance` on all that a layer declares, not a sample of it."""
    measured, original = [], layer_symmetry.equivariance

    def seen(*arguments, **settings):
        report = original(*arguments, **settings)
        measured.append([e.words for e in report.elements])
        return report

    monkeypatch.setattr(layer_symmetry, "equivariance", seen)
    for kind in (Affine, Line):
        layers.symmetric(layers.cases([kind])[0])
    ((first, *others),) = measured  # a line that is not circular declares nothing
    assert first == "shift by 1"
    assert len(set(others)) == layer_symmetry.DRAWS
    for case in layers.cases([ours.GroupConv]):
        measured.clear()
        layers.symmetric(case)
        names = [s.name for s in case.layer().symmetries()]
        assert measured[0][: len(names)] == names
        assert len(measured[0]) >= len(names) + layer_symmetry.DRAWS


@pytest.mark.parametrize(
    "kind",
    [
        ours.SO2Conv, ours.GauntProduct, ours.GauntPower, ours.PointConv, ours.PositionOrientationConv,
        ours.PositionOrientationBlock, ours.PolyphaseDownsample, ours.PolyphaseAnchor, ours.CropSelect, ours.GlobalLayerNorm,
        ours.PoincareLinear, ours.PoincarePool, ours.PoincareBatchNorm, ours.LieResidualBlock, ours.ChannelSphere, ours.ScaleConv,
    ],
    ids=lambda kind: kind.__name__,
)  # fmt: skip
def test_layers_that_promise_a_symmetry_declare_one_that_some_example_shows(kind):
    """What does not fit an example is not checked on it; a declaration that fits none would be no declaration."""

    def kinds(symmetries):
        return {re.sub(r"[^a-z]+", " ", s.name) for s in symmetries}

    listed, shown = set(), set()
    for case in layers.cases([kind]):
        layer = case.layer()
        listed |= kinds([*layer.symmetries(), *layer.random_symmetries(np.random.default_rng(0))])
        shown |= kinds(layer_symmetry.declared(layer, case.inputs()))
    assert shown
    assert listed <= shown


def test_unknown_claims_are_refused():
    class Claims(Affine):
        @property
        def claims(self):
            return frozenset({"beautiful"})

    with pytest.raises(AssertionError, match="beautiful"):
        layers.applicable(layers.cases([Claims])[0])
