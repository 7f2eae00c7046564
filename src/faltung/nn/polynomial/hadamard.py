"""HadamardPerceptron: scale and mix Walsh–Hadamard coefficients in place of a convolution."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.engine.walsh import ORDERS, fwht, rows_of
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, shown
from faltung.planner import Policy

_POOL = {1: torch.nn.functional.avg_pool1d, 2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}


class HadamardPerceptron(Layer):
    """A layer between two Walsh–Hadamard transforms: paths that scale each coefficient, mix channels and threshold.

    Formula: `X = H x̃`, `Z_i = S_(T_i)(W_i · (V_i ∘ X))`, `y = crop(H Σ over i of Z_i) / Π n'`, plus x where residual is set; x̃ is
    the input, averaged over windows of `stride` and padded with zeros behind to n' = the next powers of two, H the unnormalised
    transform along every spatial axis, `S_T(z) = sign(z) · max(|z| − max(T, 0), 0)`.

    Shapes: input (batch, in, *size), returns (batch, out, *m) with m = ⌊size / stride⌋; scale V and threshold T (paths, *n'),
    shared by all channels, weight W (paths · out, in, 1, ..., 1).

    Args:
        ndim: number of spatial axes, 1 to 3.   in_channels, out_channels: at least 1.
        size: the spatial sizes of the input, one for all axes or one for each: the layer takes no others.
        paths: at least 1. Default 3.
        residual: whether the (averaged) input is added, which needs as many outputs as inputs. Default False.
        stride: by how much the input is averaged first. Default 1.   threshold: whether there is T. Default True.
        order: of the coefficients in V and T, natural, sequency or dyadic (see `faltung.fwht`). Default natural.
        device, dtype: of the parameters. Default: torch's.   policy: for the mix of channels.

    Raises:
        ArgumentError: settings that name no layer, inputs of another size.   DtypeError: complex inputs.

    Not equivariant to shifts. Where every size is a power of two and stride 1 it is equivariant to the XOR of all positions with a
    constant: that turns signs of coefficients, which S_T, an odd function, lets pass. Padding to powers of two costs up to 2^ndim
    times the work (56 → 64: 31 % more in two dimensions). The transform is unnormalised, so thresholds scale with Π n'. A threshold
    at or below zero gets no derivative.
    Cost: a transform of in and one of out channels, log₂ Π n' additions a coefficient; paths · (1 + out) products a coefficient.

    Example:
        >>> HadamardPerceptron(2, 3, 8, size=7)(torch.zeros(1, 3, 7, 7)).shape
        torch.Size([1, 8, 7, 7])
    """

    name = "hadamard-perceptron"
    summary = "scaled, mixed and thresholded Walsh–Hadamard coefficients"
    source = "Pan et al., A hybrid quantum-classical approach based on the Hadamard transform for the convolutional layer (2023)"
    dims = (1, 2, 3)
    cost = "paths · (in / out + in), on sizes padded to powers of two"
    portrait = shown(
        "impulses photo", (1, 1, 64, 64), ndim=2, in_channels=1, out_channels=2, size=64, paths=2, order="sequency"
    )  # fmt: skip

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        size: Any,
        paths: int = 3,
        residual: bool = False,
        stride: Any = 1,
        threshold: bool = True,
        order: str = "natural",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        who = "HadamardPerceptron"
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        if self.ndim not in self.dims:
            raise ArgumentError.of(who, "1 to 3 dimensions", str(ndim), "choose one of these")
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.size = functional.numbers("size", size, self.ndim, 1)
        self.stride = functional.numbers("stride", stride, self.ndim, 1)
        (self.paths,) = functional.numbers("paths", paths, 1, 1)
        if any(s > n for n, s in zip(self.size, self.stride, strict=True)):
            raise ArgumentError.of(who, f"a stride within the size {self.size}", str(stride), "use a smaller stride")
        if residual and self.in_channels != self.out_channels:
            raise ArgumentError.of(
                who, "as many outputs as inputs for a residual", f"{out_channels} and {in_channels}", "set residual=False"
            )  # fmt: skip
        if order not in ORDERS:
            raise ArgumentError.of(who, f"an order among {', '.join(ORDERS)}", repr(order), "choose one of these")
        self.residual, self.order, self.policy = bool(residual), order, policy
        self.kept = tuple(n // s for n, s in zip(self.size, self.stride, strict=True))
        self.padded = tuple(1 << (n - 1).bit_length() for n in self.kept)
        factory = {"device": device, "dtype": dtype}
        self.scale = nn.Parameter(torch.empty(self.paths, *self.padded, **factory))
        self.register_parameter(
            "threshold", nn.Parameter(torch.empty(self.paths, *self.padded, **factory)) if threshold else None
        )
        self.weight = nn.Parameter(
            torch.empty(self.paths * self.out_channels, self.in_channels, *[1] * self.ndim, **factory)
        )
        for axis, n in enumerate(self.padded):  # natural place -> place in the layer's order
            places = torch.tensor(rows_of(order, n).argsort().tolist(), device=device)
            self.register_buffer(f"places{axis}", places, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw scales in [0, 1), thresholds in [0, 0.1), and the mix as torch draws a convolution."""
        nn.init.uniform_(self.scale, 0, 1)
        if self.threshold is not None:
            nn.init.uniform_(self.threshold, 0, 0.1)
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:
        x = self._averaged(input)
        around = [
            width for n, m in zip(reversed(self.kept), reversed(self.padded), strict=True) for width in (0, m - n)
        ]
        spectrum = self._transformed(torch.nn.functional.pad(x, around))
        scaled = (spectrum.unsqueeze(1) * self._natural(self.scale).unsqueeze(1)).flatten(1, 2)
        mixed = functional.conv(scaled, self.weight, groups=self.paths, policy=self.policy)
        mixed = mixed.unflatten(1, (self.paths, self.out_channels))
        if self.threshold is not None:
            limit = self._natural(self.threshold).relu().unsqueeze(1).to(mixed.dtype)
            mixed = mixed - mixed.clamp(-limit, limit)
        whole = self._transformed(mixed.sum(1)) / math.prod(self.padded)
        y = whole[(..., *(slice(n) for n in self.kept))]
        return y + x if self.residual else y

    def _averaged(self, input: Tensor) -> Tensor:
        """The input after a look at its sizes, averaged over windows of the stride."""
        self.expect(input, self.in_channels, self.ndim)
        if input.is_complex():
            raise DtypeError.of(
                type(self).__name__, "a tensor of real numbers", f"{input.dtype}", "take its parts apart"
            )
        if tuple(input.shape[2:]) != self.size:
            raise ArgumentError.of(
                type(self).__name__, f"spatial sizes {self.size}", f"shape {tuple(input.shape)}",
                "its scales belong to places of the transform: make a layer of that size",
            )  # fmt: skip
        if max(self.stride) == 1:
            return input
        return _POOL[self.ndim](input, self.stride, self.stride)

    def _natural(self, values: Tensor) -> Tensor:
        """Scales or thresholds in natural order, whichever the layer keeps them in."""
        if self.order != "natural":
            for axis in range(self.ndim):
                values = values.index_select(1 + axis, getattr(self, f"places{axis}"))
        return values

    def _transformed(self, x: Tensor) -> Tensor:
        for axis in range(-self.ndim, 0):
            x = fwht(x, axis)
        return x

    def definition(self, *inputs: Any) -> Tensor:
        """With Hadamard matrices in the layer's order, path by path."""
        (x,) = inputs
        axes = "hwd"[: self.ndim]
        for axis, (n, s) in enumerate(zip(self.kept, self.stride, strict=True)):
            windows = [x.narrow(2 + axis, n0 * s, s).mean(2 + axis) for n0 in range(n)]
            x = torch.stack(windows, 2 + axis)
        matrices = [_hadamard(m)[rows_of(self.order, m).tolist()].to(x.dtype) for m in self.padded]
        terms = ",".join(f"{new}{old}" for new, old in zip("HWD", axes, strict=False))
        cut = [matrix[:, :n] for matrix, n in zip(matrices, self.kept, strict=True)]
        spectrum = torch.einsum(f"bc{axes},{terms}->bc{'HWD'[: self.ndim]}", x, *cut)
        total = torch.zeros((), dtype=x.dtype)
        for i in range(self.paths):
            matrix = self.weight.flatten(1).unflatten(0, (self.paths, -1))[i]
            z = torch.einsum("oc,bc...->bo...", matrix, self.scale[i] * spectrum)
            if self.threshold is not None:
                z = torch.sign(z) * torch.relu(z.abs() - torch.relu(self.threshold[i]))
            total = total + z
        y = torch.einsum(f"bc{'HWD'[: self.ndim]},{terms}->bc{axes}", total, *cut) / math.prod(self.padded)
        return y + x if self.residual else y

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE, LINEAR} if self.threshold is None else {PER_SAMPLE})

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, *self.kept)

    def parameter_count(self) -> int:
        planes = 1 if self.threshold is None else 2
        return self.paths * (planes * math.prod(self.padded) + self.in_channels * self.out_channels)

    def symmetries(self) -> Iterable[Symmetry]:
        if self.padded == self.size:

            def moved(x: Tensor) -> Tensor:
                for axis, n in enumerate(self.size):
                    x = x.index_select(2 + axis, torch.arange(n) ^ (n - 1 - n // 4))
                return x

            yield Symmetry("XOR of all positions with a constant", moved, moved)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 3}
        yield Example({"ndim": 1, **common, "size": 5, "order": "sequency"}, ((2, 2, 5),))
        yield Example({"ndim": 1, **common, "size": 8, "paths": 1}, ((2, 2, 8),))
        yield Example({"ndim": 2, **common, "size": (4, 3), "paths": 2, "threshold": False}, ((2, 2, 4, 3),))
        yield Example(
            {"ndim": 2, "in_channels": 2, "out_channels": 2, "size": (5, 8), "stride": 2, "residual": True}, ((2, 2, 5, 8),)
        )  # fmt: skip
        yield Example(
            {"ndim": 3, **common, "size": (2, 3, 4), "paths": 1, "stride": (1, 1, 2), "order": "dyadic"}, ((1, 2, 2, 3, 4),)
        )  # fmt: skip


def _hadamard(n: int) -> Tensor:
    """The matrix in natural order, by its definition."""
    signs = [[1.0 - 2.0 * ((u & w).bit_count() % 2) for u in range(n)] for w in range(n)]
    return torch.tensor(signs, dtype=torch.float64)
