"""Networks from coordinates to kernel values: sines (SIREN), or waves under bells (WIRE)."""

import math
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, shown

KINDS = ("siren", "wire")


class CoordinateNet(Layer):
    """A small network from coordinates to numbers, the same at every place, whose activations are waves.

    Formula: `h_i = a(A_i h_{i−1} + b_i)` for i = 1 .. layers, `y = L h_last + l`, with `a(z) = sin(omega·z)`, or for kind "wire"
    `a(z) = cos(omega·z)·exp(−(decay·z)²)`, a real Gabor wavelet.

    Shapes: input (batch, coordinates, *n), returns (batch, out_channels, *n).

    Args:
        coordinates, out_channels: at least 1.   hidden: width. Default 60.   layers: hidden layers, at least 1. Default 2.
        kind: "siren" or "wire". Default "siren".   omega: of the waves, above 0. Default 10.
        decay: of the bells, at least 0. Default 2.
        fan: numbers that the result's sum runs over: results start with a variance of about 1 / fan. Default 1.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that make no network.

    Source: Sitzmann et al., Implicit neural representations with periodic activation functions (2020); Saragadam et al., WIRE:
    wavelet implicit neural representations (2023).

    Example:
        >>> CoordinateNet(2, 8)(torch.zeros(1, 2, 5, 5)).shape
        torch.Size([1, 8, 5, 5])
    """

    name = "coordinate-net"
    summary = "a small network of waves, from coordinates to numbers"
    source = "Sitzmann et al., Implicit neural representations with periodic activation functions (2020)"
    cost = "(coordinates + (layers − 1) · hidden + out_channels) · hidden for each place"
    portrait = shown("coordinates", (1, 2, 96, 96), coordinates=2, out_channels=3)

    def __init__(
        self,
        coordinates: int,
        out_channels: int,
        hidden: int = 60,
        layers: int = 2,
        kind: str = "siren",
        omega: float = 10.0,
        decay: float = 2.0,
        fan: int = 1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.coordinates, self.out_channels, self.hidden, self.layers, self.fan = functional.numbers(
            "coordinates, out_channels, hidden, layers, fan", (coordinates, out_channels, hidden, layers, fan), 5, 1
        )
        if kind not in KINDS or not omega > 0 or not decay >= 0:
            raise ArgumentError.of(
                "CoordinateNet", f"a kind among {', '.join(KINDS)}, omega above 0, decay of at least 0",
                f"{kind!r}, {omega!r}, {decay!r}", "correct them",
            )  # fmt: skip
        self.kind, self.omega, self.decay = kind, float(omega), float(decay)
        widths = [self.coordinates, *[self.hidden] * self.layers]
        factory = {"device": device, "dtype": dtype}
        self.steps = nn.ModuleList(nn.Linear(a, b, **factory) for a, b in pairwise(widths))
        self.last = nn.Linear(self.hidden, self.out_channels, **factory)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights so that phases of all layers spread alike, and results of `fan` terms sum to about 1."""
        for i, step in enumerate(self.steps):
            bound = math.sqrt(6 / self.hidden) / self.omega if i else 1 / self.coordinates
            nn.init.uniform_(step.weight, -bound, bound)
        bound = math.sqrt(6 / self.hidden) / math.sqrt(self.fan)
        nn.init.uniform_(self.last.weight, -bound, bound)
        nn.init.zeros_(self.last.bias)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        self.expect(input, self.coordinates, max(input.ndim - 2, 0))
        h = input.movedim(1, -1).to(self.last.weight.dtype)
        with _unnarrowed(h.device.type):  # phases of many turns need all their digits
            for step in self.steps:
                z = step(h)
                h = torch.sin(self.omega * z)
                if self.kind == "wire":
                    h = torch.cos(self.omega * z) * torch.exp(-((self.decay * z) ** 2))
            return self.last(h).movedim(-1, 1)

    def definition(self, *inputs: Any) -> Tensor:
        """Neuron by neuron."""
        h = list(inputs[0].unbind(1))

        def sums(step: nn.Linear) -> list[Tensor]:
            rows = zip(step.weight, step.bias, strict=True)
            return [sum((w * v for w, v in zip(row, h, strict=True)), b) for row, b in rows]

        for step in self.steps:
            waves = [(self.omega * z, (self.decay * z) ** 2) for z in sums(step)]
            h = [
                torch.sin(phase) if self.kind == "siren" else torch.cos(phase) / torch.exp(bell)
                for phase, bell in waves
            ]
        return torch.stack(sums(self.last), 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, *inputs[0][2:])

    def parameter_count(self) -> int:
        h = self.hidden
        return (self.coordinates + 1) * h + (self.layers - 1) * (h + 1) * h + (h + 1) * self.out_channels

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"coordinates": 2, "out_channels": 3, "hidden": 4, "omega": 3.0}, ((2, 2, 3, 2),))
        yield Example(
            {"coordinates": 1, "out_channels": 2, "hidden": 3, "layers": 1, "kind": "wire", "fan": 4}, ((2, 1, 5),)
        )


def _unnarrowed(kind: str) -> Any:
    """Where autocast would narrow matrix products, it is kept from that."""
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
