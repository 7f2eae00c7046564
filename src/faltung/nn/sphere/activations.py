"""What fields of any spin may pass through: `SpinReLU`, `SpinPhaseCollapse`, and `SphereOversampled` for what makes waves of
its own.

A turn of the sphere gives values of spin s a phase, so a function of values commutes with it only if it keeps their phase or takes
moduli; values of spin 0 are free. All of these commute with rotations of *functions*. Samples see the function at their places
only: what a kink adds beyond the degree that the grid carries folds back. `SphereOversampled` has finer samples for that.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry
from faltung.nn.complex.base import ComplexLayer
from faltung.nn.sphere.base import SCALED, SphereLayer
from faltung.nn.sphere.grid import sphere_grid
from faltung.nn.sphere.transform import SpinSHT, checked_spins

TINY = 1e-6  # of the modulus, in the division by it


def _in_fields(layer: Layer, input: Tensor, channels: int, spins: tuple[int, ...], complex_only: bool) -> Tensor:
    """The input as (batch, channels, spins, rows, columns)."""
    (ComplexLayer if complex_only else Layer).expect(layer, input, channels * len(spins), 2)
    return input.reshape(input.shape[0], channels, len(spins), *input.shape[2:])


def _phases(spins: tuple[int, ...]) -> Iterable[Symmetry]:
    """Each spin times a phase of its own multiple of an angle, at every place another one: what frames at places do."""

    def turned(x: Tensor) -> Tensor:
        if not x.is_complex():
            return x.roll(1, -1)
        flat = x.reshape(x.shape[0], -1, len(spins), *x.shape[2:])
        angle = torch.linspace(0, 5, x.shape[-1] * x.shape[-2], dtype=x.real.dtype).reshape(x.shape[-2:])
        phase = torch.stack([torch.polar(torch.ones_like(angle), s * angle) for s in spins])
        return (flat * phase).flatten(1, 2)

    yield Symmetry("other frames at every place", turned, turned)


class SpinReLU(SphereLayer):
    """ReLU for fields of any spin: values of spin 0 as usual, of others only the modulus.

    Formula: `relu(|z| + b) z / (|z| + 1e-6)` for spin ≠ 0; `relu(Re z + b) + i·relu(Im z + b)` for spin 0.

    Shapes: input (batch, channels · spins, rows, columns), returns the same; bias (channels, spins), real.

    Args:
        channels: at least 1.   spins: whole numbers, (0, 1), ...; with (0,) real numbers may come.   dtype: of the bias; real.

    Raises:
        ArgumentError: settings that name no layer.

    Source: as below.

    Example:
        >>> SpinReLU(1, (0, 1))(torch.tensor([-1 + 1j, 3 + 4j]).reshape(1, 2, 1, 1)).abs().flatten().detach().round()
        tensor([1., 5.])
    """

    name = "spin-relu"
    summary = "ReLU of spin 0, ReLU of the modulus of other spins"
    source = SCALED
    cost = "4"

    def __init__(self, channels: int, spins: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.spins = checked_spins("SpinReLU", spins)
        kind = (dtype or torch.get_default_dtype()).to_real()
        self.bias = nn.Parameter(torch.zeros(self.channels, len(self.spins), device=device, dtype=kind))

    def forward(self, input: Tensor) -> Tensor:
        z = _in_fields(self, input, self.channels, self.spins, any(self.spins))
        found = []
        for n, s in enumerate(self.spins):
            bias, own = self.bias[:, n, None, None], z[:, :, n]
            if s == 0 and not z.is_complex():
                found.append((own + bias).relu())
            elif s == 0:
                found.append(torch.complex((own.real + bias).relu(), (own.imag + bias).relu()))
            else:
                size = own.abs()
                found.append(own * ((size + bias).relu() / (size + TINY)))
        return torch.stack(found, 2).flatten(1, 2)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        columns = []
        for c in range(self.channels * len(self.spins)):
            channel, n = divmod(c, len(self.spins))
            z, b = x[:, c], self.bias[channel, n]
            if self.spins[n] == 0:
                parts = [torch.where(p + b > 0, p + b, 0) for p in ((z.real, z.imag) if x.is_complex() else (z,))]
                columns.append(parts[0] + 1j * parts[1] if x.is_complex() else parts[0])
            else:
                size = (z.real**2 + z.imag**2).sqrt()
                columns.append(torch.where(size + b > 0, z * (size + b) / (size + TINY), 0))
        return torch.stack(columns, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.channels * len(self.spins)

    def symmetries(self) -> Iterable[Symmetry]:
        return _phases(self.spins)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "spins": (0, 1, -2)}, ((2, 6, 4, 5),), complex=True)
        yield Example({"channels": 2, "spins": (0,)}, ((2, 2, 4, 5),))


class SpinPhaseCollapse(SphereLayer):
    """Moduli of all spins flow into spin 0: the nonlinearity of scaled spherical networks. Other spins pass as they are.

    Formula: `z₀ ← ½ (W₁ z₀ + W₂ |z| + b)`, |z| the moduli of all channels and spins at a place.

    Shapes: input (batch, channels · spins, rows, columns), complex, returns the same; weight (channels, channels) and
    modulus_weight (channels, channels · spins), complex; bias (channels), complex.

    Args:
        channels: at least 1.   spins: whole numbers with 0 among them.

    Raises:
        ArgumentError: no spin 0.   DtypeError: real tensors.

    Source: as below; Guth, Zarka and Mallat, Phase collapse in neural networks (2022).

    Example:
        >>> SpinPhaseCollapse(2, (0, 1))(torch.randn(1, 4, 3, 3, dtype=torch.complex64)).shape
        torch.Size([1, 4, 3, 3])
    """

    name = "spin-phase-collapse"
    summary = "moduli of all spins mixed into spin 0"
    source = SCALED
    cost = "channels · (1 + spins)"

    def __init__(self, channels: int, spins: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.spins = checked_spins("SpinPhaseCollapse", spins)
        if 0 not in self.spins:
            raise ArgumentError.of(
                "SpinPhaseCollapse", "spins with 0 among them", repr(spins), "add 0, into which moduli flow"
            )
        factory = {"device": device, "dtype": (dtype or torch.get_default_dtype()).to_complex()}
        wide = self.channels * len(self.spins)
        self.weight = nn.Parameter(torch.empty(self.channels, self.channels, **factory))
        self.modulus_weight = nn.Parameter(torch.empty(self.channels, wide, **factory))
        self.bias = nn.Parameter(torch.zeros(self.channels, **factory))
        nn.init.normal_(self.weight, std=(2 / self.channels) ** 0.5)
        nn.init.normal_(self.modulus_weight, std=(2 / wide) ** 0.5)

    def forward(self, input: Tensor) -> Tensor:
        z = _in_fields(self, input, self.channels, self.spins, True)
        zero = self.spins.index(0)
        plain = torch.einsum("oc,bcij->boij", self.weight, z[:, :, zero])
        moduli = input.abs().to(z.dtype)
        mixed = 0.5 * (plain + torch.einsum("oc,bcij->boij", self.modulus_weight, moduli) + self.bias[:, None, None])
        return torch.cat([z[:, :, :zero], mixed[:, :, None], z[:, :, zero + 1 :]], 2).flatten(1, 2)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        many, zero = len(self.spins), self.spins.index(0)
        y = [x[:, c] for c in range(x.shape[1])]
        sizes = (x.real**2 + x.imag**2).sqrt()
        for o in range(self.channels):
            total = self.bias[o] + sum(self.weight[o, c] * x[:, c * many + zero] for c in range(self.channels))
            y[o * many + zero] = (total + sum(self.modulus_weight[o, c] * sizes[:, c] for c in range(x.shape[1]))) / 2
        return torch.stack(y, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.channels**2 * (1 + len(self.spins)) + self.channels

    def symmetries(self) -> Iterable[Symmetry]:
        return _phases(self.spins)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "spins": (0, 1)}, ((2, 4, 3, 5),), complex=True)
        yield Example({"channels": 1, "spins": (2, 0, -1)}, ((1, 3, 3, 4),), complex=True)


class SphereOversampled(nn.Module):
    """Any pointwise module on finer samples, and back: fewer degrees fold, none for a polynomial of low enough degree.

    Formula: synthesis on `factor` times as many rows and columns, the module, analysis up to the degree of the first grid. A
    product of k functions is exact from `factor` (k + 1)/2 on; a kink makes degrees without end, of which fewer fold as the
    factor grows.

    Args:
        module: keeps shapes, (batch, channels · spins, rows, columns); it takes what comes, real or complex.
        resolution, grid: of its input and result.   spins: next to each other in the channels. Default (0,).
        factor: at least 1. Default 2.   dtype: of the tables.

    Cost: four transforms, the module on factor² as many samples.

    Example:
        >>> SphereOversampled(nn.ReLU(), 8)(torch.randn(1, 3, 8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(
        self, module: Callable[[Tensor], Tensor], resolution: Any, spins: Sequence[int] = (0,), factor: int = 2,
        grid: str = "equiangular", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        (factor,) = functional.numbers("factor", factor, 1, 1)
        coarse = sphere_grid(resolution, grid)
        fine = sphere_grid((factor * coarse.rows, factor * coarse.columns), coarse.kind)
        factory = {"device": device, "dtype": dtype}
        self.module, self.spins = module, checked_spins("SphereOversampled", spins)
        self.coarse, self.fine = (SpinSHT(g, self.spins, degree=coarse.degree, **factory) for g in (coarse, fine))

    def forward(self, input: Tensor) -> Tensor:
        fields = input.unflatten(1, (-1, len(self.spins)))
        finer = self.fine.inverse(self.coarse(fields)).flatten(1, 2)
        result = self.module(finer if input.is_complex() else finer.real).unflatten(1, (-1, len(self.spins)))
        back = self.coarse.inverse(self.fine(result)).flatten(1, 2)
        return back if input.is_complex() else back.real
