"""Convolution of spherical features along edges: turned so that the edge is the polar axis, mixed order by order, turned back."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer
from faltung.nn.symmetry.so3 import align, couplings, quadrature, rotate, spherical_harmonics, wigner


class SO2Conv(Layer):
    """A linear map of spherical features that depends on an edge's direction and commutes with rotations of both: SO(2) blocks.

    Formula: with R such that R·edge is the polar axis, `y = D(R)ᵀ B D(R) x`. B mixes degrees and channels, but couples only
    orders of one |m|: `y₀ = W₀ x₀ + bias` and `y_{±m} = A_m x_{±m} ∓ B_m x_{∓m}`. With m up to the degree these are all tensor
    products of x with harmonics of the edge; with fewer m the map stays equivariant, for B commutes with turns about the edge.

    Shapes: x (edges, (l_in + 1)², in_channels), edge (edges, 3) of any length but 0, returns (edges, (l_out + 1)², out_channels);
    conventions of `faltung.nn.symmetry.so3`, which are e3nn's.

    Args:
        in_channels, out_channels: at least 1.   l_in, l_out: highest degrees, at least 0.
        highest: largest |m| that is mixed. Default: all.   bias: whether constants are added to order 0, for each degree and
            channel. Default False.   device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer.

    Error: rounding; derivatives with respect to the edge exist everywhere, at the poles too.
    Cost: for each edge `Σ_m 2·(l + 1 − m)²·in·out` for the blocks, `2·Σ_l (2l + 1)²·channels` for the rotations, both O(L³), and
    the matrices D once, which layers on the same edges share: see `frame` and `mix`.
    Source: Passaro and Zitnick, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs (2023).

    Example:
        >>> layer = SO2Conv(4, 8, 2, 3)
        >>> layer(torch.randn(5, 9, 4), torch.randn(5, 3)).shape
        torch.Size([5, 16, 8])
    """

    name = "so2-conv"
    summary = "a tensor product with harmonics of an edge, as small blocks in a frame along the edge"
    source = "Passaro and Zitnick, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs (2023)"
    cost = "O(l³) for (l + 1)² results of an edge"
    dims = ()

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        l_in: int,
        l_out: int,
        highest: int | None = None,
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.l_in, self.l_out = functional.numbers("l_in, l_out", (l_in, l_out), 2, 0)
        least = min(self.l_in, self.l_out)
        (wanted,) = functional.numbers("highest", least if highest is None else highest, 1, 0)
        self.highest = min(wanted, least)
        factory = {"device": device, "dtype": dtype}
        blocks = []
        for m in range(self.highest + 1):
            rows, columns = (self.l_out + 1 - min(m, self.l_out)), (self.l_in + 1 - m)
            shape = (1 if m == 0 else 2, rows * self.out_channels, columns * self.in_channels)
            blocks.append(nn.Parameter(torch.randn(shape, **factory) / math.sqrt(shape[0] * shape[2])))
        self.blocks = nn.ParameterList(blocks)
        self.register_parameter(
            "bias", nn.Parameter(torch.zeros(self.l_out + 1, self.out_channels, **factory)) if bias else None
        )
        for n, l in enumerate((self.l_in, self.l_out)):
            for m in range(-self.highest, self.highest + 1):
                places = [k * k + k + m for k in range(abs(m), l + 1)]
                self.register_buffer(f"order_{n}_{m}", torch.tensor(places, device=device), persistent=False)
        for l, coupling in enumerate(couplings(max(self.l_in, self.l_out)), 2):
            made = coupling.to(device=device, dtype=dtype or torch.get_default_dtype())
            self.register_buffer(f"coupling_{l}", made, persistent=False)
        stand = {(k, m): i for i, (m, k) in enumerate(self._stacked())}
        last = len(stand)
        back = [stand.get((k, m), last) for k in range(self.l_out + 1) for m in range(-k, k + 1)]
        self.register_buffer("back", torch.tensor(back, device=device), persistent=False)

    def _stacked(self) -> list[tuple[int, int]]:
        """(order, degree) of the mixed rows as `mix` stacks them."""
        orders = [0, *(o for m in range(1, self.highest + 1) for o in (m, -m))]
        return [(m, k) for m in orders for k in range(abs(m), self.l_out + 1)]

    def frame(self, edge: Tensor) -> list[Tensor]:
        """The matrices D⁰ ... D^l of the rotations that take the edges to the polar axis; for all layers on these edges."""
        highest = max(self.l_in, self.l_out)
        return wigner(highest, align(edge), [getattr(self, f"coupling_{l}") for l in range(2, highest + 1)])

    def forward(self, x: Tensor, edge: Tensor) -> Tensor:
        self.expect(x, (self.l_in + 1) ** 2, 1)
        if x.shape[2] != self.in_channels or edge.shape != (x.shape[0], 3) or not edge.is_floating_point():
            raise ArgumentError.of(
                "SO2Conv", f"x (edges, {(self.l_in + 1) ** 2}, {self.in_channels}) and edge (edges, 3)",
                f"{tuple(x.shape)} and {tuple(edge.shape)}", "match them",
            )  # fmt: skip
        return self.mix(x, self.frame(edge))

    def mix(self, x: Tensor, frame: Sequence[Tensor]) -> Tensor:
        """The result in the frames of the edges, from `frame`."""
        turned = rotate(x, list(frame[: self.l_in + 1]))
        rows = []
        for m in range(self.highest + 1):
            plus = turned[:, getattr(self, f"order_0_{m}")].flatten(1)
            if m == 0:
                mixed = torch.matmul(plus, self.blocks[0][0].T).unflatten(1, (-1, self.out_channels))
                rows.append(mixed if self.bias is None else mixed + self.bias)
                continue
            minus = turned[:, getattr(self, f"order_0_{-m}")].flatten(1)
            a, b = self.blocks[m]
            both = (
                torch.matmul(plus, a.T) - torch.matmul(minus, b.T),
                torch.matmul(plus, b.T) + torch.matmul(minus, a.T),
            )
            rows += [one.unflatten(1, (-1, self.out_channels)) for one in both]
        stacked = nn.functional.pad(torch.cat(rows, 1), (0, 0, 0, 1))[:, self.back]
        return rotate(stacked, list(frame[: self.l_out + 1]), back=True)

    def definition(self, *inputs: Any) -> Tensor:
        """By a whole matrix B, and by two angles, with matrices from values on the sphere: another roll, the same result."""
        x, edge = inputs
        unit = edge / edge.norm(dim=1, keepdim=True)
        polar, around = torch.acos(unit[:, 1].clamp(-1, 1)), torch.atan2(unit[:, 0], unit[:, 2])
        one, zero = torch.ones_like(polar), torch.zeros_like(polar)

        def stacked(*rows: Sequence[Tensor]) -> Tensor:
            return torch.stack([torch.stack(list(row), -1) for row in rows], -2)

        c, s = torch.cos(around), torch.sin(around)
        first = stacked((c, zero, -s), (zero, one, zero), (s, zero, c))
        c, s = torch.cos(polar), torch.sin(polar)
        rotation = stacked((one, zero, zero), (zero, c, s), (zero, -s, c)) @ first
        highest = max(self.l_in, self.l_out)
        points, weights = quadrature(2 * highest)
        points, weights = torch.from_numpy(points).to(x), torch.from_numpy(weights).to(x)
        before = spherical_harmonics(highest, points) * weights[:, None]
        after = spherical_harmonics(highest, torch.einsum("eij,pj->epi", rotation, points))
        matrix = torch.einsum("epi,pj->eij", after, before)
        mixing = x.new_zeros((self.l_out + 1) ** 2, self.out_channels, (self.l_in + 1) ** 2, self.in_channels)
        for m, block in enumerate(self.blocks):
            rows, columns = range(m, self.l_out + 1), range(m, self.l_in + 1)
            parts = block.reshape(-1, len(rows), self.out_channels, len(columns), self.in_channels)
            for i, k in enumerate(rows):
                for j, l in enumerate(columns):
                    up, down = (k * k + k + m, k * k + k - m), (l * l + l + m, l * l + l - m)
                    mixing[up[0], :, down[0]] += parts[0, i, :, j]
                    if m:
                        mixing[up[1], :, down[1]] += parts[0, i, :, j]
                        mixing[up[0], :, down[1]] -= parts[1, i, :, j]
                        mixing[up[1], :, down[0]] += parts[1, i, :, j]
        n, k = (self.l_in + 1) ** 2, (self.l_out + 1) ** 2
        mixed = torch.einsum("kold,eli,eid->eko", mixing, matrix[:, :n, :n], x)
        if self.bias is not None:
            for l in range(self.l_out + 1):
                mixed[:, l * l + l] = mixed[:, l * l + l] + self.bias[l]
        return torch.einsum("eik,eio->eko", matrix[:, :k, :k], mixed)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], (self.l_out + 1) ** 2, self.out_channels)

    def parameter_count(self) -> int:
        count = sum((1 if m == 0 else 2) * (self.l_out + 1 - m) * (self.l_in + 1 - m) for m in range(self.highest + 1))
        bias = 0 if self.bias is None else (self.l_out + 1) * self.out_channels
        return count * self.in_channels * self.out_channels + bias

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_channels": 2, "out_channels": 1, "l_in": 2, "l_out": 2}, ((3, 9, 2), (3, 3)))
        yield Example(
            {"in_channels": 1, "out_channels": 2, "l_in": 1, "l_out": 3, "highest": 1, "bias": True},
            ((2, 4, 1), (2, 3)),
        )
