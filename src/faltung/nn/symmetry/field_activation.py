"""Nonlinearities that fields of SO(2), O(2) and O(3) commute with: by their lengths, by gates, on samples of the circle."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example
from faltung.nn.symmetry.irreps import Irreps
from faltung.nn.symmetry.of_fields import OfFields, per_field

TINY = 1e-30  # lengths whose square is below have no direction


def _length(x: Tensor) -> Tensor:
    """√(Σ over axis 2 of x²), whose derivative at 0 is 0."""
    square = x.square().sum(2, keepdim=True)
    live = square > TINY
    return torch.where(live, torch.where(live, square, 1).sqrt(), 0)


class NormReLU(OfFields):
    """Fields shortened: each keeps its direction, and its length becomes relu(length + bias); scalars go through relu(x + bias).

    Formula: `y = relu(‖x‖ + b)·x/‖x‖`, 0 where x is. Scalars that a mirror negates ("0-", "0o") are lengths with a sign.

    Shapes: input (batch, irreps' dim, h, w), for "o3" (batch, dim, x, y, z), with `last` (..., dim), returns the same; bias
    (fields), 0 at first.

    Args:
        fields: as for `SteerableConv`, for "o3" as for `VoxelConv`.   group: "so2" (default), "o2" or "o3".
        last: whether fields stand on the last axis, as those of points do, see `PointConv`. Default False.

    Raises:
        ArgumentError: settings that name no layer.

    Source: Worrall et al., Harmonic networks (2017).

    Example:
        >>> layer = NormReLU("1")
        >>> layer.bias.data.fill_(-1)
        tensor([-1.])
        >>> layer(torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)).flatten().tolist()
        [2.4000000953674316, 3.200000047683716]
    """

    name = "norm-relu"
    summary = "fields of the plane or of space shortened, their directions kept"
    source = "Worrall et al., Harmonic networks (2017)"
    cost = "4"

    def __init__(
        self, fields: str, group: str = "so2", device: Any = None, dtype: Any = None, last: bool = False
    ) -> None:
        super().__init__()
        self._name(fields, group, last)
        self.bias = nn.Parameter(torch.zeros(self.fields.count, device=device, dtype=dtype))

    def forward(self, input: Tensor) -> Tensor:
        results, first = [], 0
        for many, name, x in self._parts(self._opened(input, self.fields.dim)):
            bias = per_field(self.bias[first : first + many], x)
            if name == self.scalar:
                y = torch.relu(x + bias)
            else:
                length = _length(x)
                y = x * torch.relu(length + bias) / torch.where(length > 0, length, 1)
            results.append(y.flatten(1, 2))
            first += many
        return self._closed(torch.cat(results, 1))

    def definition(self, *inputs: Any) -> Tensor:
        results, bias = [], iter(self.bias)
        for name, own in self._each(self._opened(inputs[0], self.fields.dim)):
            b, length = next(bias), own.norm(dim=1, keepdim=True)
            still = name == self.scalar
            results.append((own + b).clamp(min=0) if still else (length + b).clamp(min=0) * own / length)
        return self._closed(torch.cat(results, 1))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.fields.count

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"fields": "2x0 + 0- + 1", "group": "o2"}, ((2, 5, 3, 2),))
        yield Example({"fields": "0e + 2x1o + 0o + 2e", "group": "o3"}, ((1, 13, 2, 1, 2),))
        yield Example({"fields": "2x0e + 0o + 1e", "group": "o3", "last": True}, ((2, 3, 6),))


class GatedFields(OfFields):
    """Fields multiplied by gates: relu on scalars, and for every other field the sigmoid of a scalar of its own.

    Formula: `y = relu(x)` for scalars, `y = sigmoid(s)·x` for others; the gates s stand behind all fields of the input, one
    for each field that is no scalar.

    Shapes: input (batch, irreps' dim + gates, h, w), returns (batch, irreps' dim, h, w); for "o3" (batch, dim, x, y, z), with
    `last` (..., dim). Neither relu nor sigmoid are scaled; e3nn's `Gate` divides both by their root mean square for a normal
    number, and has its gates before the fields that they multiply.

    Args:
        fields: as for `SteerableConv`, for "o3" as for `VoxelConv`; convolve to `fields + gates x0`, for "o3" `gates x0e`, see
            `gates`.
        group: "so2" (default), "o2" or "o3".
        last: whether fields stand on the last axis, as those of points do, see `PointConv`. Default False.

    Raises:
        ArgumentError: settings that name no layer.

    Source: Weiler et al., 3D steerable CNNs (2018).

    Example:
        >>> layer = GatedFields("2x0 + 3x1")
        >>> layer.gates, layer(torch.zeros(1, 11, 4, 4)).shape
        (3, torch.Size([1, 8, 4, 4]))
    """

    name = "gated-fields"
    summary = "fields of the plane or of space multiplied by gates that are scalars"
    source = "Weiler et al., 3D steerable CNNs (2018)"
    cost = "1"

    def __init__(self, fields: str, group: str = "so2", last: bool = False) -> None:
        super().__init__()
        self._name(fields, group, last)
        self.gates = sum(many for many, name in self.fields.parts if name != self.scalar)
        """How many scalars stand behind the fields."""

    def forward(self, input: Tensor) -> Tensor:
        results, gate = [], self.fields.dim
        whole = self._opened(input, self.fields.dim + self.gates)
        for many, name, x in self._parts(whole):
            if name == self.scalar:
                results.append(torch.relu(x).flatten(1, 2))
                continue
            open_ = torch.sigmoid(whole[:, gate : gate + many]).unsqueeze(2)
            gate += many
            results.append((x * open_).flatten(1, 2))
        return self._closed(torch.cat(results, 1))

    def definition(self, *inputs: Any) -> Tensor:
        x = self._opened(inputs[0], self.fields.dim + self.gates)
        results, gate = [], self.fields.dim
        for name, own in self._each(x):
            if name == self.scalar:
                results.append(own.clamp(min=0))
            else:
                results.append(own / (1 + torch.exp(-x[:, gate : gate + 1])))
                gate += 1
        return self._closed(torch.cat(results, 1))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        if self.last:
            return (*inputs[0][:-1], self.fields.dim)
        return (inputs[0][0], self.fields.dim, *inputs[0][2:])

    def parameter_count(self) -> int:
        return 0

    def received(self) -> Irreps:
        return Irreps((*self.fields.parts, *([(self.gates, self.scalar)] if self.gates else [])))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"fields": "2x0 + 0- + 2x1", "group": "o2"}, ((2, 10, 3, 2),))
        yield Example({"fields": "0e + 2x1o + 0o + 2e", "group": "o3"}, ((1, 17, 2, 1, 2),))
        yield Example({"fields": "2x0e + 0o + 1e", "group": "o3", "last": True}, ((3, 8),))


class FourierReLU(OfFields):
    """Functions on the circle, given by their Fourier coefficients, sampled, sent through relu, and analysed again.

    Formula: channels are fields "0 + 1 + ... + order" each, a function's coefficients; `y = A⁺ relu(A x)` with A the
    (samples, 2·order + 1) matrix of 1, √2 cos mα, √2 sin mα at equal angles, and A⁺ = Aᵀ / samples.

    Shapes: input (batch, channels·(2·order + 1), h, w), returns the same: all scalars first, then all vectors, and so on, as the
    text `irreps` of the layer says for `SteerableConv`.

    Args:
        channels: at least 1.   order: highest frequency, at least 0.   samples: more than 2·order. Default: the least multiple
            of 4 that is.

    Error: commutes with rotations by multiples of 1/samples of a circle exactly; with others up to the aliases of relu, which fall
        with more samples.
    Source: Cohen et al., Spherical CNNs (2018), for the idea; de Haan et al., Gauge equivariant mesh CNNs (2021), for the circle.

    Example:
        >>> FourierReLU(3, 2).irreps
        '3x0 + 3x1 + 3x2'
    """

    name = "fourier-relu"
    summary = "relu on samples of functions on the circle, given by Fourier coefficients"
    source = "de Haan et al., Gauge equivariant mesh CNNs (2021)"
    cost = "2 · samples"

    waves: Tensor

    def __init__(
        self, channels: int, order: int, samples: int | None = None, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        (self.order,) = functional.numbers("order", order, 1, 0)
        least = 2 * self.order + 1
        (self.samples,) = functional.numbers("samples", -(-least // 4) * 4 if samples is None else samples, 1, 1)
        if self.samples < least:
            raise ArgumentError.of(
                "FourierReLU", f"at least {least} samples for order {order}", str(samples), "take more samples"
            )
        self.irreps = " + ".join(f"{self.channels}x{m}" for m in range(self.order + 1))
        self._name(self.irreps, "so2")
        angle = 2 * math.pi * torch.arange(self.samples, dtype=torch.float64) / self.samples
        columns = [torch.ones_like(angle)]
        for m in range(1, self.order + 1):
            columns += [2**0.5 * torch.cos(m * angle), 2**0.5 * torch.sin(m * angle)]
        waves = torch.stack(columns, 1).to(device=device, dtype=dtype or torch.get_default_dtype())
        self.register_buffer("waves", waves, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.fields.dim, 2)
        c = self.channels
        blocks = [input[:, :c].unsqueeze(2)]
        blocks += [input[:, (2 * m - 1) * c : (2 * m + 1) * c].unflatten(1, (c, 2)) for m in range(1, self.order + 1)]
        x = torch.cat(blocks, 2)  # (batch, channels, coefficients, h, w)
        values = torch.relu(torch.einsum("sk,nckhw->ncshw", self.waves, x))
        y = torch.einsum("sk,ncshw->nckhw", self.waves, values) / self.samples
        ends = [y[:, :, 0], *(y[:, :, 2 * m - 1 : 2 * m + 1].flatten(1, 2) for m in range(1, self.order + 1))]
        return torch.cat(ends, 1)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        c, results = self.channels, torch.zeros_like(x)

        def places(channel: int) -> list[int]:
            return [
                channel,
                *((2 * m - 1) * c + 2 * channel + part for m in range(1, self.order + 1) for part in (0, 1)),
            ]

        def wave(k: int, s: int) -> float:
            m, angle = (k + 1) // 2, 2 * math.pi * s / self.samples
            return 1.0 if k == 0 else 2**0.5 * (math.cos if k % 2 else math.sin)(m * angle)

        for channel in range(c):
            for s in range(self.samples):
                value = sum(wave(k, s) * x[:, p] for k, p in enumerate(places(channel))).clamp(min=0)
                for k, p in enumerate(places(channel)):
                    results[:, p] += wave(k, s) * value / self.samples
        return results

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "order": 2}, ((2, 10, 2, 3),))
