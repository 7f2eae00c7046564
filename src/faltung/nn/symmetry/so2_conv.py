"""Convolution of spherical features along edges: turned so that the edge is the polar axis, mixed order by order, turned back."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry
from faltung.nn.symmetry.edge_product import harmonic_paths, path_blocks
from faltung.nn.symmetry.edges import shown_as
from faltung.nn.symmetry.motions import STILL, drawn_turn, edges_turned
from faltung.nn.symmetry.so3 import align, couplings, quadrature, rotate, spherical_harmonics, wigner

SILU_SQUARE = 0.3557755
"""The mean of silu(z)² for a normal z."""


class SO2Conv(Layer):
    """A linear map of spherical features that depends on an edge's direction and commutes with rotations of both: SO(2) blocks.

    Formula: with R such that R·edge is the polar axis, `y = D(R)ᵀ B D(R) x`. B mixes degrees and channels, but couples only
    orders of one |m|: `y₀ = W₀ x₀ + bias` and `y_{±m} = A_m x_{±m} ∓ B_m x_{∓m}`. With m up to the degree these are all tensor
    products of x with harmonics of the edge; with fewer m the map stays equivariant, for B commutes with turns about the edge.
    With scalars e of the edge (a length in radial functions, kinds of its ends) the blocks depend on them through hidden channels:
    `A_m(e) = V_m diag(silu(G_m e + c_m)) U_m`, and B_m(e) of the same form.

    Shapes: x (edges, (l_in + 1)², in_channels), edge (edges, 3) of any length but 0, with `edge_dim` also scalars
    (edges, edge_dim); returns (edges, (l_out + 1)², out_channels); conventions of `faltung.nn.symmetry.so3`, which are e3nn's.

    Args:
        in_channels, out_channels: at least 1.   l_in, l_out: highest degrees, at least 0.
        highest: largest |m| that is mixed. Default: all.   bias: whether constants are added to order 0, for each degree and
            channel (on other orders a constant would turn with the arbitrary roll). Default False.
        edge_dim: scalars of an edge, at least 1, results of a network or as they come. Default: none, one B for all edges.
        hidden: channels within each block with `edge_dim`. Default 256.   device, dtype: of the parameters.
        mirrors: whether B is 0, so that mirrors are kept too, of edges and of features of which a mirror through the origin negates
            odd degrees: the tensor products of even parity. Default False.

    Raises:
        ArgumentError: settings that name no layer.

    Error: rounding; derivatives with respect to the edge exist everywhere, at the poles too.
    Cost: for each edge `Σ_m 2·(l + 1 − m)²·in·out` for the blocks (with `edge_dim` `Σ_m 4·(l + 1 − m)·hidden·(in + out)`),
    `2·Σ_l (2l + 1)·(2·min(l, highest) + 1)·channels` for the rotations, of which only the orders that are mixed are computed, and
    the matrices D once, which layers on the same edges share: see `frame` and `mix`; `within` is the part between the rotations.
    Source: Passaro and Zitnick, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs (2023).

    Example:
        >>> layer = SO2Conv(4, 8, 2, 3)
        >>> layer(torch.randn(5, 9, 4), torch.randn(5, 3)).shape
        torch.Size([5, 16, 8])
        >>> layer = SO2Conv(4, 8, 2, 3, edge_dim=6, hidden=16)
        >>> layer(torch.randn(5, 9, 4), torch.randn(5, 3), torch.randn(5, 6)).shape
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
        edge_dim: int | None = None,
        hidden: int = 256,
        mirrors: bool = False,
    ) -> None:
        super().__init__()
        self.mirrors = bool(mirrors)
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.l_in, self.l_out = functional.numbers("l_in, l_out", (l_in, l_out), 2, 0)
        least = min(self.l_in, self.l_out)
        (wanted,) = functional.numbers("highest", least if highest is None else highest, 1, 0)
        self.highest = min(wanted, least)
        factory = {"device": device, "dtype": dtype}
        (self.hidden,) = functional.numbers("hidden", hidden, 1, 1)
        self.edge_dim = None if edge_dim is None else functional.numbers("edge_dim", edge_dim, 1, 1)[0]
        shapes = []
        for m in range(self.highest + 1):
            rows, columns = (self.l_out + 1 - min(m, self.l_out)), (self.l_in + 1 - m)
            shapes.append((self._parts(m), rows * self.out_channels, columns * self.in_channels))
        if self.edge_dim is None:
            self.blocks = nn.ParameterList(
                nn.Parameter(torch.randn(s, **factory) / math.sqrt(s[0] * s[2])) for s in shapes
            )
        else:
            self.blocks = nn.ModuleList(GatedBlock(s, self.hidden, self.edge_dim, **factory) for s in shapes)
        self.register_parameter(
            "bias", nn.Parameter(torch.zeros(self.l_out + 1, self.out_channels, **factory)) if bias else None
        )
        read, written = self._kept(self.l_in), self._kept(self.l_out)
        for m in range(-self.highest, self.highest + 1):
            places = [i for i, row in enumerate(read) if row[0] == m]
            self.register_buffer(f"order_{m}", torch.tensor(places, device=device), persistent=False)
        stand = {row: i for i, row in enumerate(self._stacked())}
        for name, kept in (
            ("read", [k * k + k + m for m, k in read]),
            ("written", [k * k + k + m for m, k in written]),
            ("sorted", [stand[row] for row in written]),
        ):
            self.register_buffer(name, torch.tensor(kept, device=device), persistent=False)
        for l, coupling in enumerate(couplings(max(self.l_in, self.l_out)), 2):
            made = coupling.to(device=device, dtype=dtype or torch.get_default_dtype())
            self.register_buffer(f"coupling_{l}", made, persistent=False)

    def _parts(self, m: int) -> int:
        """How many matrices the block of an order has: A, and B where there is one."""
        return 1 if m == 0 or self.mirrors else 2

    def _kept(self, l: int) -> list[tuple[int, int]]:
        """(order, degree) of the rows that are mixed, as features have them."""
        return [(m, k) for k in range(l + 1) for m in range(-k, k + 1) if abs(m) <= self.highest]

    def _stacked(self) -> list[tuple[int, int]]:
        """(order, degree) of the mixed rows as `_mixed` stacks them."""
        orders = [0, *(o for m in range(1, self.highest + 1) for o in (m, -m))]
        return [(m, k) for m in orders for k in range(abs(m), self.l_out + 1)]

    @torch.no_grad()
    def take_paths(self, weights: Tensor) -> "SO2Conv":
        """Set the blocks so that the layer is `Σ over paths h·C (x ⊗ Y(edge))`, as `tensor_product_with_sh` says it.

        Args:
            weights: h (paths, out_channels, in_channels), by `harmonic_paths(l_in, l_out, mirrors)`.

        Returns:
            The layer: equal to the tensor product if all orders are mixed, else the part of it that the orders carry.

        Raises:
            ArgumentError: weights of another shape, or a layer whose blocks depend on scalars.
        """
        paths = len(harmonic_paths(self.l_in, self.l_out, self.mirrors))
        if self.edge_dim is not None or weights.shape != (paths, self.out_channels, self.in_channels):
            raise ArgumentError.of(
                "SO2Conv.take_paths", f"weights ({paths}, {self.out_channels}, {self.in_channels}), no edge_dim",
                f"{tuple(weights.shape)}, edge_dim {self.edge_dim}", "give a matrix for each path",
            )  # fmt: skip
        for m, block in enumerate(self.blocks):
            table = torch.from_numpy(path_blocks(self.l_in, self.l_out, m, self.mirrors)).to(weights)
            made = torch.einsum("hpij,hoc->piojc", table, weights)
            block.copy_(made[: len(block)].reshape(block.shape))
        return self

    def frame(self, edge: Tensor) -> list[Tensor]:
        """The matrices D⁰ ... D^l of the rotations that take the edges to the polar axis; for all layers on these edges."""
        highest = max(self.l_in, self.l_out)
        return wigner(highest, align(edge), [getattr(self, f"coupling_{l}") for l in range(2, highest + 1)])

    def forward(self, x: Tensor, edge: Tensor, scalars: Tensor | None = None) -> Tensor:
        self.expect(x, (self.l_in + 1) ** 2, 1)
        right = isinstance(edge, Tensor) and edge.shape == (x.shape[0], 3) and edge.is_floating_point()
        if x.shape[2] != self.in_channels or not right:
            raise ArgumentError.of(
                "SO2Conv", f"x (edges, {(self.l_in + 1) ** 2}, {self.in_channels}) and edge (edges, 3)",
                f"{tuple(x.shape)} and {shown_as(edge)}", "match them",
            )  # fmt: skip
        return self.mix(x, self.frame(edge), scalars)

    def mix(self, x: Tensor, frame: Sequence[Tensor], scalars: Tensor | None = None) -> Tensor:
        """The result with the frames of the edges, from `frame`.

        Raises:
            ArgumentError: as `within`.
        """
        self._checked(x, scalars, (self.l_in + 1) ** 2)
        turned = rotate(x, self._rows(frame, self.l_in))
        mixed = self._mixed(turned, scalars).index_select(1, self.sorted)
        return rotate(mixed, self._rows(frame, self.l_out), back=True)

    def _rows(self, frame: Sequence[Tensor], l: int) -> list[Tensor]:
        """Of each matrix the rows of the orders that are mixed; what the others would give is not looked at."""
        return [d[..., max(k - self.highest, 0) : k + self.highest + 1, :] for k, d in enumerate(frame[: l + 1])]

    def within(self, turned: Tensor, scalars: Tensor | None = None) -> Tensor:
        """B on features that are turned already, for several layers and activations in a row between two rotations.

        Raises:
            ArgumentError: features of another shape, scalars that are missing, not asked for, or of another shape.
        """
        self._checked(turned, scalars, (self.l_in + 1) ** 2)
        mixed = self._mixed(turned.index_select(1, self.read), scalars).index_select(1, self.sorted)
        whole = mixed.new_zeros(mixed.shape[0], (self.l_out + 1) ** 2, self.out_channels)
        return whole.index_copy(1, self.written, mixed)

    def _mixed(self, turned: Tensor, scalars: Tensor | None) -> Tensor:
        """B on the orders that it mixes: 0, then m and −m for m = 1, 2, ..., each by degrees."""
        rows = []
        for m in range(self.highest + 1):
            plus = turned[:, getattr(self, f"order_{m}")].flatten(1)
            if m == 0:
                mixed = self._block(0, 0, [plus], scalars)[0].unflatten(1, (-1, self.out_channels))
                rows.append(mixed if self.bias is None else mixed + self.bias)
                continue
            minus = turned[:, getattr(self, f"order_{-m}")].flatten(1)
            up, down = self._block(m, 0, [plus, minus], scalars)
            if not self.mirrors:
                b = self._block(m, 1, [plus, minus], scalars)
                up, down = up - b[1], down + b[0]
            rows += [one.unflatten(1, (-1, self.out_channels)) for one in (up, down)]
        return torch.cat(rows, 1)

    def _block(self, m: int, part: int, signs: list[Tensor], scalars: Tensor | None) -> list[Tensor]:
        """A_m x for part 0, B_m x for part 1, of the orders m and −m."""
        block = self.blocks[m]
        if scalars is not None:
            return list(block(signs, part, scalars))
        return [torch.matmul(x, block[part].T) for x in signs]

    def _checked(self, x: Tensor, scalars: Tensor | None, rows: int) -> None:
        self.expect(x, rows, 1)
        if x.shape[2] != self.in_channels:
            raise ArgumentError.of("SO2Conv", f"{self.in_channels} channels", str(x.shape[2]), "match them")
        if self.edge_dim is None:
            if scalars is not None:
                raise ArgumentError.of("SO2Conv", "no scalars of edges", "some", "build the layer with edge_dim")
            return
        right = isinstance(scalars, Tensor) and scalars.shape == (x.shape[0], self.edge_dim)
        if not right or not scalars.is_floating_point():  # type: ignore[union-attr]
            raise ArgumentError.of(
                "SO2Conv",
                f"scalars (edges, {self.edge_dim})",
                shown_as(scalars),
                "give as many for every edge as edge_dim says",
            )

    def definition(self, *inputs: Any) -> Tensor:
        """By a whole matrix B, and by two angles, with matrices from values on the sphere: another roll, the same result."""
        x, edge, *scalars = inputs
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
        n, k = (self.l_in + 1) ** 2, (self.l_out + 1) ** 2
        mixing = x.new_zeros(x.shape[0], k, self.out_channels, n, self.in_channels)
        for m, block in enumerate(self.blocks):
            rows, columns = range(m, self.l_out + 1), range(m, self.l_in + 1)
            whole = block[None].expand(x.shape[0], -1, -1, -1) if self.edge_dim is None else block.definition(*scalars)
            parts = whole.reshape(x.shape[0], -1, len(rows), self.out_channels, len(columns), self.in_channels)
            for i, a in enumerate(rows):
                for j, b in enumerate(columns):
                    up, down = (a * a + a + m, a * a + a - m), (b * b + b + m, b * b + b - m)
                    mixing[:, up[0], :, down[0]] += parts[:, 0, i, :, j]
                    if m:
                        mixing[:, up[1], :, down[1]] += parts[:, 0, i, :, j]
                    if m and not self.mirrors:
                        mixing[:, up[0], :, down[1]] -= parts[:, 1, i, :, j]
                        mixing[:, up[1], :, down[0]] += parts[:, 1, i, :, j]
        mixed = torch.einsum("ekold,eli,eid->eko", mixing, matrix[:, :n, :n], x)
        if self.bias is not None:
            for l in range(self.l_out + 1):
                mixed[:, l * l + l] = mixed[:, l * l + l] + self.bias[l]
        return torch.einsum("eik,eio->eko", matrix[:, :k, :k], mixed)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], (self.l_out + 1) ** 2, self.out_channels)

    def parameter_count(self) -> int:
        bias, count = 0 if self.bias is None else (self.l_out + 1) * self.out_channels, 0
        for m in range(self.highest + 1):
            rows, columns = (self.l_out + 1 - m) * self.out_channels, (self.l_in + 1 - m) * self.in_channels
            one = rows * columns if self.edge_dim is None else self.hidden * (rows + columns + self.edge_dim + 1)
            count += self._parts(m) * one
        return count + bias

    def symmetries(self) -> Iterable[Symmetry]:
        yield edges_turned(STILL)
        if self.mirrors:
            yield edges_turned(-STILL)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield edges_turned(drawn_turn(random, 3, self.mirrors and bool(random.integers(2))))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_channels": 2, "out_channels": 1, "l_in": 2, "l_out": 2}, ((3, 9, 2), (3, 3)))
        yield Example(
            {"in_channels": 1, "out_channels": 2, "l_in": 1, "l_out": 3, "highest": 1, "bias": True},
            ((2, 4, 1), (2, 3)),
        )
        yield Example(
            {"in_channels": 2, "out_channels": 1, "l_in": 2, "l_out": 1, "bias": True, "edge_dim": 2, "hidden": 3},
            ((3, 9, 2), (3, 3), (3, 2)),
        )
        yield Example(
            {"in_channels": 1, "out_channels": 2, "l_in": 3, "l_out": 2, "highest": 1, "mirrors": True},
            ((2, 16, 1), (2, 3)),
        )


class GatedBlock(nn.Module):
    """Matrices `V diag(silu(G e + c)) U` that depend on scalars e of an edge: one (order 0), or two (A and B).

    Args:
        shape: (matrices, rows, columns).   hidden: rows of U.   edge_dim: how many scalars.

    With scalars and columns of variance 1 its results start with about variance 1, as those of a block without scalars do.
    """

    def __init__(
        self, shape: tuple[int, int, int], hidden: int, edge_dim: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        count, rows, columns = shape
        factory = {"device": device, "dtype": dtype}
        self.inner = nn.Parameter(torch.randn(count, hidden, columns, **factory) / math.sqrt(columns))
        self.outer = nn.Parameter(torch.randn(count, rows, hidden, **factory) / math.sqrt(count * hidden * SILU_SQUARE))
        self.gate = nn.Parameter(torch.randn(count, hidden, edge_dim, **factory) / math.sqrt(edge_dim))
        self.shift = nn.Parameter(torch.zeros(count, hidden, **factory))

    def forward(self, signs: list[Tensor], part: int, scalars: Tensor) -> list[Tensor]:
        """Orders m and −m have one gate, or a turn about the edge would not commute with it."""
        gate = nn.functional.silu(torch.matmul(scalars, self.gate[part].T) + self.shift[part])
        return [torch.matmul(torch.matmul(x, self.inner[part].T) * gate, self.outer[part].T) for x in signs]

    def definition(self, scalars: Tensor) -> Tensor:
        """The matrices themselves, (edges, matrices, rows, columns)."""
        drive = torch.einsum("phd,ed->eph", self.gate, scalars) + self.shift
        return torch.einsum("prh,eph,phc->eprc", self.outer, drive / (1 + torch.exp(-drive)), self.inner)
