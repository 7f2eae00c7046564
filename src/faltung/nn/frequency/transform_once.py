"""T1: a network whose layers all live among the low cosine coefficients of the input, which is transformed once."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, shown
from faltung.nn.frequency.spectral import from_cosines, low_cosines, widened

ACTIVATIONS = {"gelu": torch.nn.functional.gelu, "sin": torch.sin}
SOURCE = "Poli et al., Transform once: efficient operator learning in frequency domain (2022)"
AXES = "ijkl"


class T1Block(Layer):
    """Mixes cosine coefficients: over channels at every frequency, then over frequencies along every axis, beside a shortcut.

    Formula: `z[b, o, k] = act(Σ_c channel[o, c, k] x[b, c, k])`, then for every axis a in turn
    `z[b, c, .., j, ..] ← Σ_i axis_a[c, j, i] z[b, c, .., i, ..]`, and `y = x + z`.

    Shapes: input (batch, channels, *modes), returns the same; channel (channels, channels, *modes), axis_a (channels, modes[a],
    modes[a]).

    Args:
        ndim: number of axes, 1 to 4.   channels: at least 1.   modes: coefficients along the axes, one number or one for each.
        activation: gelu or sin. Default gelu.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer, inputs of another size.

    Cost: channels + Σ modes products a coefficient. Drawn so that channel mixing keeps the variance and axis mixing, too.

    Source: Poli et al., Transform once: efficient operator learning in frequency domain (2022).

    Example:
        >>> T1Block(2, 48, (24, 24))(torch.zeros(1, 48, 24, 24)).shape
        torch.Size([1, 48, 24, 24])
    """

    name = "t1-block"
    summary = "mixes cosine coefficients over channels at every frequency, then over frequencies along every axis"
    source = SOURCE
    dims = (1, 2, 3, 4)
    cost = "channels + Σ modes"
    portrait = shown("photo", (1, 1, 24, 24), ndim=2, channels=1, modes=24)

    def __init__(
        self, ndim: int, channels: int, modes: Any, activation: str = "gelu", device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.modes = functional.numbers("modes", modes, self.ndim, 1)
        if self.ndim > len(AXES):
            raise ArgumentError.of("T1Block", f"at most {len(AXES)} axes", str(ndim), "fold some axes into the batch")
        if activation not in ACTIVATIONS:
            raise ArgumentError.of(
                "activation", f"one of {', '.join(ACTIVATIONS)}", repr(activation), "choose one of these"
            )
        self.activation = activation
        factory = {"device": device, "dtype": dtype}
        self.channel = nn.Parameter(torch.empty(self.channels, self.channels, *self.modes, **factory))
        self.axes = nn.ParameterList(torch.empty(self.channels, m, m, **factory) for m in self.modes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal numbers by which sums keep the variance of their terms."""
        nn.init.normal_(self.channel, std=math.sqrt(1 / self.channels))
        for matrix in self.axes:
            nn.init.normal_(matrix, std=math.sqrt(1 / matrix.shape[-1]))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        if tuple(input.shape[2:]) != self.modes:
            raise ArgumentError.of(
                "T1Block", f"{self.modes} coefficients", f"shape {tuple(input.shape)}", "keep as many modes as the block has"
            )  # fmt: skip
        z = ACTIVATIONS[self.activation](torch.einsum("bc...,oc...->bo...", input, self.channel))
        names = AXES[: self.ndim]
        for name, matrix in zip(names, self.axes, strict=True):
            z = torch.einsum(f"bc{names},co{name}->bc{names.replace(name, 'o')}", z, matrix)
        return input + z

    def definition(self, *inputs: Any) -> Tensor:
        """Sums of products, one axis brought to the end after the other."""
        (x,) = inputs
        z = ACTIVATIONS[self.activation]((self.channel * x.unsqueeze(1)).sum(2))
        for axis, matrix in enumerate(self.axes, start=2):
            last = z.movedim(axis, -1)
            wide = matrix.reshape(1, self.channels, *[1] * (self.ndim - 1), *matrix.shape[1:])
            z = (wide * last.unsqueeze(-2)).sum(-1).movedim(-1, axis)
        return x + z

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.channels**2 * math.prod(self.modes) + self.channels * sum(m * m for m in self.modes)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2, "modes": 4}, ((2, 2, 4),))
        yield Example({"ndim": 2, "channels": 2, "modes": (3, 2), "activation": "sin"}, ((2, 2, 3, 2),))


class T1(Layer):
    """Transform once: the input's low cosine coefficients go through all layers, and only the result is transformed back.

    Formula: `z = √(Π modes / Π n) · low(DCT(lift([x, coordinates])))`, then blocks (`T1Block`), then for every coefficient
    `head(z) = B sin(A z + a) + b`, and `y = √(Π n / Π modes) · iDCT(head(z), 0 elsewhere)`; with `keep_high` the higher
    coefficients of lift go past the blocks, through the head. lift is linear; the coordinate of a place u in [0, 1] is
    (1 − cos πu) / 2. The scale makes coefficients independent of the sampling, which is why a signal without high frequencies
    that is sampled more finely gives the same result, sampled more finely.

    Shapes: input (batch, in, *n), returns (batch, out, *n); n at least modes.

    Args:
        ndim: number of axes, 1 to 4.   in_channels, out_channels: at least 1.   modes: coefficients kept along each axis.
        width: channels of the blocks. Default 48.   layers: blocks, at least 0. Default 8.
        activation: of the blocks, gelu or sin. Default gelu.   hidden: width of the head. Default 128.
        keep_high: whether higher coefficients pass. Default False.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer, signals with fewer samples than modes.

    Cost: one transform there and one back for all layers, and the blocks. The head starts at nearly 0, and so does the result.

    Source: Poli et al., Transform once: efficient operator learning in frequency domain (2022). Published coordinates are u itself,
    which has all frequencies, so that predictions depend on the sampling; these have two.

    Example:
        >>> T1(2, 1, 1, modes=(12, 12), width=8, layers=2)(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """

    name = "t1"
    summary = "a network among the low cosine coefficients of its input, transformed once there and once back"
    source = SOURCE
    dims = (1, 2, 3, 4)
    cost = "layers · width · (width + Σ modes) · Π modes / Π n, and one transform there and back"
    portrait = shown("photo", (1, 1, 48, 48), ndim=2, in_channels=1, out_channels=1, modes=16, width=8, layers=2)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        modes: Any,
        width: int = 48,
        layers: int = 8,
        activation: str = "gelu",
        hidden: int = 128,
        keep_high: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.in_channels, self.out_channels, self.width, self.hidden = functional.numbers(
            "in_channels, out_channels, width, hidden", (in_channels, out_channels, width, hidden), 4, 1
        )
        (self.layers,) = functional.numbers("layers", layers, 1, 0)
        if not isinstance(keep_high, bool):
            raise ArgumentError.of("keep_high", "True or False", repr(keep_high), "leave it out for False")
        self.modes, self.keep_high = functional.numbers("modes", modes, self.ndim, 1), keep_high
        factory = {"device": device, "dtype": dtype}
        self.lift = nn.Linear(self.in_channels + self.ndim, self.width, **factory)
        made = (T1Block(self.ndim, self.width, self.modes, activation, **factory) for _ in range(self.layers))
        self.blocks = nn.ModuleList(made)
        self.head = nn.ModuleList(
            [nn.Linear(self.width, self.hidden, **factory), nn.Linear(self.hidden, self.out_channels, **factory)]
        )
        nn.init.normal_(self.head[1].weight, std=1e-8)
        nn.init.zeros_(self.head[1].bias)

    def coefficients(self, input: Tensor) -> Tensor:
        """The result's orthonormal cosine coefficients at this sampling, (batch, out, *modes), or all with keep_high.

        The squared distance of two results is that of their coefficients, so a loss may be taken here, with no transform back.
        """
        self.expect(input, self.in_channels, self.ndim)
        sizes = tuple(input.shape[2:])
        if any(n < m for n, m in zip(sizes, self.modes, strict=True)):
            raise ArgumentError.of(
                "T1", f"at least {self.modes} samples", f"shape {tuple(input.shape)}", "keep fewer modes, or sample more finely"
            )  # fmt: skip
        fine = math.sqrt(math.prod(self.modes) / math.prod(sizes))
        x = low_cosines(functional.wide(input), sizes if self.keep_high else self.modes) * fine
        # The lift and the transform are linear, so the coordinates and the constant are lifted as what they are: few coefficients.
        places = [self._coordinate(axis, x) for axis in range(self.ndim)]
        x = torch.cat([x, torch.stack(places).unsqueeze(0).expand(x.shape[0], *[-1] * (self.ndim + 1))], 1)
        z = torch.einsum("bi...,oi->bo...", x, self.lift.weight) + self._constant(x) * self._column(self.lift.bias)
        if self.keep_high:
            inner = tuple(slice(0, m) for m in self.modes)
            kept = z[(..., *inner)]
            more = self._through(kept) - kept
            for axis, n in zip(range(-self.ndim, 0), sizes, strict=True):
                more = widened(more, axis, n)
            z = z + more
        else:
            z = self._through(z)
        z = torch.sin(torch.einsum("bi...,oi->bo...", z, self.head[0].weight) + self._column(self.head[0].bias))
        z = torch.einsum("bi...,oi->bo...", z, self.head[1].weight) + self._column(self.head[1].bias)
        return z / fine

    def forward(self, input: Tensor) -> Tensor:
        y = functional.wide(self.coefficients(input))
        return from_cosines(y, tuple(input.shape[2:])).to(input.dtype)

    def _through(self, z: Tensor) -> Tensor:
        for block in self.blocks:
            z = block(z)
        return z

    def _column(self, bias: Tensor) -> Tensor:
        return bias.reshape(-1, *[1] * self.ndim)

    def _constant(self, like: Tensor) -> Tensor:
        """Scaled coefficients of a signal that is 1 everywhere: the square of its size is the number of modes."""
        found = like.new_zeros(like.shape[2:])
        found[(0,) * self.ndim] = math.sqrt(math.prod(self.modes))
        return found

    def _coordinate(self, axis: int, like: Tensor) -> Tensor:
        """Scaled coefficients of (1 − cos πu) / 2; a wave has half the square of a constant."""
        found = self._constant(like) / 2
        if found.shape[axis] > 1:
            first = tuple(int(a == axis) for a in range(self.ndim))
            found[first] = -math.sqrt(math.prod(self.modes) / 8)
        return found

    def definition(self, *inputs: Any) -> Tensor:
        """As the formula has it: lift every place, one matrix of cosines an axis, blocks by their definition, head, back."""
        (x,) = inputs
        sizes, planes = x.shape[2:], []
        matrices = []
        for axis, n in enumerate(sizes):
            at = (torch.arange(n, dtype=x.dtype) + 0.5) / n
            shape = [-1 if a == axis else 1 for a in range(self.ndim)]
            planes.append(((1 - torch.cos(math.pi * at)) / 2).reshape(shape).expand(sizes))
            k = torch.arange(n, dtype=x.dtype)[:, None]
            matrices.append(torch.cos(math.pi * k * at) * torch.where(k == 0, 1 / n, torch.full_like(k, 2 / n)).sqrt())
        z = torch.cat([x, torch.stack(planes)[None].expand(len(x), *[-1] * (self.ndim + 1))], 1)
        z = torch.nn.functional.linear(z.movedim(1, -1), self.lift.weight, self.lift.bias).movedim(-1, 1)
        for axis, matrix in enumerate(matrices, start=2):
            z = torch.tensordot(z, matrix, ([axis], [1])).movedim(-1, axis)
        fine = math.sqrt(math.prod(self.modes) / math.prod(sizes))
        inner = (..., *(slice(0, m) for m in self.modes))
        z = z * fine
        kept = z[inner]
        for block in self.blocks:
            kept = block.definition(kept)
        z = z.clone()
        z[inner] = kept
        first, last = self.head
        z = torch.sin(torch.nn.functional.linear(z.movedim(1, -1), first.weight, first.bias))
        z = torch.nn.functional.linear(z, last.weight, last.bias).movedim(-1, 1) / fine
        if not self.keep_high:
            mask = torch.zeros(sizes, dtype=z.dtype)
            mask[inner] = 1
            z = z * mask
        for axis, matrix in enumerate(matrices, start=2):
            z = torch.tensordot(z, matrix, ([axis], [0])).movedim(-1, axis)
        return z

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, *inputs[0][2:])

    def parameter_count(self) -> int:
        w = self.width
        block = w * w * math.prod(self.modes) + w * sum(m * m for m in self.modes)
        ends = (self.in_channels + self.ndim + 1) * w + (w + 1) * self.hidden + (self.hidden + 1) * self.out_channels
        return ends + self.layers * block

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"in_channels": 2, "out_channels": 1, "width": 2, "hidden": 3}
        yield Example({"ndim": 1, **few, "modes": 3, "layers": 2}, ((2, 2, 6),))
        yield Example({"ndim": 2, **few, "modes": (2, 3), "layers": 1, "keep_high": True}, ((2, 2, 4, 4),))
