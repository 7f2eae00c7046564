"""Convolutions of fields of space that turn with it, by spherical harmonics: on voxels and on points."""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, Example, Layer, Symmetry
from faltung.nn.symmetry.acting import act
from faltung.nn.symmetry.edges import arrived, lengths, offsets
from faltung.nn.symmetry.field_conv import FieldConv
from faltung.nn.symmetry.groups import GridGroup, grid_group
from faltung.nn.symmetry.irreps import Irreps, irreps, size
from faltung.nn.symmetry.motions import STILL, clouds_moved, of_fields, points_moved
from faltung.nn.symmetry.shells import aligned, bumps, degrees, radial, shells, voxels
from faltung.nn.symmetry.so3 import coupling, spherical_harmonics
from faltung.planner import Policy


class VoxelConv(FieldConv):
    """A convolution of volumes of scalars, vectors and higher fields that commutes with motions of space, but for sampling.

    Formula: from field a to field b `κ(x) = Σ over l, k of w_lk b_k(|x|) C_(a, l, b) Y_l(x/|x|)`: l between |a − b| and a + b with
    the parity of both, b_k smooth bumps between 0 and a radius and 1 in the centre, so that `κ(R x) = D_b(R) κ(x) D_a(R)ᵀ` for
    rotations and mirrors.

    Shapes: input (batch, in_irreps' dim, x, y, z), returns (batch, out_irreps' dim, x', y', z'). Fields are laid out as in e3nn, a
    vector's numbers are its components along the three axes in their order.

    Args:
        in_irreps, out_irreps: fields as e3nn writes them, "8x0e + 4x1o + 2x2e".   kernel_size: taps, one number or three.
        steps: sides of a voxel, one number or three. Default 1.   radius: where filters end, in the unit of steps. Default:
            (k + 1)/2 steps, the largest of the three axes.   count: bumps. Default: one for each step of the radius but the last.
        stride, padding, dilation, bias, padding_mode, device, dtype, policy: as for `Conv`, alike for axes with the same steps
            and taps. The bias is one for each "0e".

    Raises:
        ArgumentError: settings that name no layer.

    Error: exact under the symmetries of the grid (48, fewer for unlike steps), up to rounding; under others that of sampling.
    Cost: that of the plain convolution; the kernel costs one small product.
    Source: Weiler et al., 3D steerable CNNs (2018); Geiger and Smidt, e3nn (2022), whose voxel convolution with its self-connection
    is one of these.

    Example:
        >>> VoxelConv("2x0e", "2x0e + 1x1o", 3, padding=1)(torch.zeros(1, 2, 5, 5, 5)).shape
        torch.Size([1, 5, 5, 5, 5])
    """

    name = "voxel-conv"
    summary = "a convolution of volumes of fields of any degree that turns with space, by spherical harmonics"
    cost = "in · Π kernel_size"
    source = "Weiler et al., 3D steerable CNNs (2018)"
    dims = ()

    def __init__(
        self,
        in_irreps: str,
        out_irreps: str,
        kernel_size: Any,
        steps: Any = 1.0,
        radius: float | None = None,
        count: int | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.scalar, self.before, self.after = "0e", irreps(in_irreps, "o3"), irreps(out_irreps, "o3")
        self.settle(3, self.before.dim, self.after.dim, kernel_size, stride, padding, dilation, 1, padding_mode, policy)
        each = steps if isinstance(steps, (tuple, list)) else (steps,) * 3
        if len(each) != 3 or not all(math.isfinite(s) and s > 0 for s in each):
            raise ArgumentError.of("VoxelConv", "one or three steps above 0", repr(steps), "give the sides of a voxel")
        self.steps = tuple(float(s) for s in each)
        reach = max((k + 1) / 2 * s for k, s in zip(self.kernel_size, self.steps, strict=True))
        self.radius = _radius("VoxelConv", reach if radius is None else radius)
        usual = max(1, math.ceil(self.radius / min(self.steps) - 1e-9) - 1)
        (self.count,) = functional.numbers("count", usual if count is None else count, 1, 1)
        whole = grid_group("oh", 3)
        alike = [(k, s) for k, s in zip(self.kernel_size, self.steps, strict=True)]
        kept = [
            g
            for g, m in enumerate(whole.matrices)
            if all(alike[a] == alike[b] for a, b in zip(*np.nonzero(m), strict=True))
        ]
        self.acting, self.kept = whole, tuple(kept)
        self._check_lattice_alike()
        self._make(bias, device, dtype)

    def exchanges(self, a: int, b: int) -> bool:
        return self.kernel_size[a] == self.kernel_size[b] and self.steps[a] == self.steps[b]

    def basis(self, source: str, to: str) -> np.ndarray:
        return shells(self.kernel_size, self.steps, self.radius, self.count, source, to)

    def definition_basis(self, source: str, to: str) -> np.ndarray:
        """Tap by tap, from the kernel of the pole."""
        places, found = torch.from_numpy(voxels(self.kernel_size, self.steps)), []
        profiles = radial(places.norm(dim=1), self.radius, self.count)
        for l in degrees(source, to):
            angular = torch.stack([aligned(place, l, source, to) for place in places], -1)
            for k in range(self.count + 1):
                element = (angular * profiles[:, k]).numpy()
                norm = np.sqrt((element**2).sum())
                if norm > 1e-6:
                    found.append(element / norm * size(to) ** 0.5)
        return np.array(found)

    def symmetries(self) -> Iterable[Symmetry]:
        yield from super().symmetries()
        for g in [g for g in self.kept if g][:: max(1, len(self.kept) // 6)]:
            yield self._turned(g)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from super().random_symmetries(random)
        yield self._turned(int(random.choice(self.kept)))

    def _turned(self, g: int) -> Symmetry:
        """Under an element of the cube's group that keeps the voxels."""
        before, after = (partial(turn_volume, self.acting, g, fields) for fields in (self.before, self.after))
        return Symmetry(f"element {g}", before, after)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example(
            {"in_irreps": "0e + 1o", "out_irreps": "2x0e + 1o", "kernel_size": 3, "padding": 1}, ((1, 4, 3, 2, 3),)
        )
        yield Example(
            {"in_irreps": "0o", "out_irreps": "0o + 1e + 2o", "kernel_size": (3, 3, 1), "steps": (1.0, 1.0, 2.5),
             "stride": (2, 2, 1)},
            ((1, 1, 5, 3, 2),),
        )  # fmt: skip


class PointConv(Layer):
    """A convolution of fields on points of space that commutes with all its motions: the kernels of `VoxelConv` at any offsets.

    Formula: `y_i = Σ over j of κ(p_j − p_i) x_j / √neighbours + W x_i + bias`, κ as for `VoxelConv` with one weight for each path,
    bump and pair of fields, and W mixing fields of one kind.

    Shapes: features (batch, points, in_irreps' dim) and positions (batch, points, 3), every pair within the radius; or features
    (points, dim), positions (points, 3) and edges (2, count), int64, rows of senders j and receivers i, for batches of any sizes.
    Returns features with out_irreps' dim. Fields are laid out as in e3nn.

    Args:
        in_irreps, out_irreps: fields as e3nn writes them, "8x0e + 4x1o + 2x2e".
        radius: where filters end, in the unit of positions.   count: bumps. Default 4.
        neighbours: how many points a sum is expected to have; sums are divided by its root. Default 1.
        bias: whether a constant is added to each "0e". Default True.   device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer, edges that name no points.

    Error: rounding; exact for all rotations, mirrors and shifts. Derivatives exist everywhere, where points meet too.
    Cost: for each edge Σ over paths of (2a + 1)(2l + 1)(2b + 1) fields·count, then fields² for each point.
    Source: Thomas et al., Tensor field networks (2018).

    Example:
        >>> layer = PointConv("2x0e", "2x0e + 1x1o", 2.0)
        >>> layer(torch.randn(5, 2), torch.randn(5, 3), torch.tensor([[0, 1, 2], [1, 0, 4]])).shape
        torch.Size([5, 5])
    """

    name = "point-conv"
    summary = "a convolution of fields on points of space that turns with it, by spherical harmonics"
    source = "Thomas et al., Tensor field networks (2018)"
    cost = "edges · Σ over paths (2a + 1)(2l + 1)(2b + 1)"
    dims = ()

    def __init__(
        self,
        in_irreps: str,
        out_irreps: str,
        radius: float,
        count: int = 4,
        neighbours: float = 1.0,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.before, self.after = irreps(in_irreps, "o3"), irreps(out_irreps, "o3")
        self.radius = _radius("PointConv", radius)
        (self.count,) = functional.numbers("count", count, 1, 1)
        if not 0 < neighbours < math.inf:
            raise ArgumentError.of("PointConv", "a number of neighbours above 0", repr(neighbours), "use 1")
        self.neighbours, factory = float(neighbours), {"device": device, "dtype": dtype}
        paths = list(self._paths())
        self.highest = max((l for _, _, l in paths), default=0)
        into = [
            sum(self.before.parts[q][0] * (self.count + (l == 0)) for at, q, l in paths if at == p)
            for p in range(len(self.after.parts))
        ]
        if not all(into):
            raise ArgumentError.of(
                "PointConv", "fields that harmonics join", f"{in_irreps} to {out_irreps}", "add fields"
            )
        weights = []
        for n, (p, q, l) in enumerate(paths):
            to, source = self.after.parts[p], self.before.parts[q]
            table = coupling((size(source[1]) - 1) // 2, l, (size(to[1]) - 1) // 2) * math.sqrt(
                4 * math.pi * size(to[1])
            )
            made = torch.from_numpy(np.ascontiguousarray(table)).to(
                device=device, dtype=dtype or torch.get_default_dtype()
            )
            self.register_buffer(f"coupling_{n}", made, persistent=False)
            shape = (self.count + (l == 0), to[0], source[0])
            weights.append(nn.Parameter(torch.randn(shape, **factory) / math.sqrt(into[p])))
        self.weights = nn.ParameterList(weights)
        self.still = sum(many for many, name in self.after.parts if name == "0e")
        self.register_parameter(
            "bias", nn.Parameter(torch.zeros(self.still, **factory)) if bias and self.still else None
        )

    def _paths(self) -> Iterator[tuple[int, int, int]]:
        """(part of the result, part of the input, degree of the harmonics) for every way to join them."""
        for p, (_, to) in enumerate(self.after.parts):
            for q, (_, source) in enumerate(self.before.parts):
                for l in degrees(source, to):
                    yield p, q, l

    def forward(self, features: Tensor, positions: Tensor, edges: Tensor | None = None) -> Tensor:
        rel = offsets(self, features, positions, edges, 3, (self.before.dim,))
        distance, live = lengths(rel)
        x, y, z = (rel / torch.where(live, distance, 1)[..., None]).unbind(-1)
        unit = torch.stack(
            [x, torch.where(live, y, 1), z], -1
        )  # any direction where two points meet: all bumps are 0 there
        around, profiles = spherical_harmonics(self.highest, unit), bumps(distance, self.radius, self.count)
        parts = self._split(features)
        sent = parts if edges is None else self._split(features.index_select(0, edges[0]))
        rows: list[Any] = [None] * len(self.after.parts)
        for n, (p, q, l) in enumerate(self._paths()):
            weight = self.weights[n]
            angular = torch.einsum("...b,abc->...ac", around[..., l * l : (l + 1) ** 2], getattr(self, f"coupling_{n}"))
            if edges is None:
                turned = torch.einsum(
                    "njua,nijac->nijuc", sent[q], angular
                )  # two and two: an order of three fixes the batch
                gathered = torch.einsum("nijuc,nijk->niukc", turned, profiles)
            else:
                turned = torch.einsum("eua,eac->euc", sent[q], angular)
                gathered = arrived(turned.unsqueeze(2) * profiles[:, None, :, None], edges, features.shape[0])
            row = torch.einsum("...ukc,kvu->...vc", gathered / math.sqrt(self.neighbours), weight[-self.count :])
            if l == 0:
                row = row + torch.einsum("...ua,vu->...va", parts[q], weight[0])
            rows[p] = row if rows[p] is None else rows[p] + row
        result = torch.cat([row.flatten(-2) for row in rows], -1)
        return result if self.bias is None else result + self._constants(self.bias)

    def _split(self, x: Tensor) -> list[Tensor]:
        """The parts of features (..., dim), each (..., fields, size)."""
        pieces = x.split([many * size(name) for many, name in self.before.parts], -1)
        return [
            piece.unflatten(-1, (many, size(name)))
            for piece, (many, name) in zip(pieces, self.before.parts, strict=True)
        ]

    def _constants(self, bias: Tensor) -> Tensor:
        """The bias at its channels, zeros elsewhere."""
        pieces, at = [], 0
        for many, name in self.after.parts:
            pieces.append(bias[at : at + many] if name == "0e" else bias.new_zeros(many * size(name)))
            at += many if name == "0e" else 0
        return torch.cat(pieces)

    def definition(self, *inputs: Any) -> Tensor:
        """Pair by pair, with kernels turned from the pole."""
        features, positions = inputs
        result = features.new_zeros(*features.shape[:2], self.after.dim)
        starts = [[0], [0]]
        for fields, ends in zip((self.before, self.after), starts, strict=True):
            for many, name in fields.parts:
                ends.append(ends[-1] + many * size(name))
        for n, i, j in np.ndindex(features.shape[0], features.shape[1], features.shape[1]):
            rel = positions[n, j] - positions[n, i]
            profile = radial(rel.norm(), self.radius, self.count) if i != j else torch.zeros(self.count + 1).to(rel)
            for number, (p, q, l) in enumerate(self._paths()):
                (many, to), (each, source) = self.after.parts[p], self.before.parts[q]
                weight, own = self.weights[number], profile[1:] / self.neighbours**0.5
                matrix = aligned(rel, l, source, to) * math.sqrt(4 * math.pi * size(to))
                if i == j:
                    if l:
                        continue
                    matrix, weight, own = torch.eye(size(to)).to(rel), weight[:1], torch.ones(1).to(rel)
                else:
                    weight = weight[-self.count :]
                for v, u in np.ndindex(many, each):
                    a, b = starts[1][p] + v * size(to), starts[0][q] + u * size(source)
                    strength = (weight[:, v, u] * own).sum()
                    result[n, i, a : a + size(to)] += strength * matrix @ features[n, j, b : b + size(source)]
        return result if self.bias is None else result + self._constants(self.bias)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:-1], self.after.dim)

    def parameter_count(self) -> int:
        pairs = ((self.after.parts[p][0] * self.before.parts[q][0], l) for p, q, l in self._paths())
        return sum(fields * (self.count + (l == 0)) for fields, l in pairs) + (0 if self.bias is None else self.still)

    @property
    def claims(self) -> frozenset[str]:
        return super().claims | {LINEAR}

    def symmetries(self) -> Iterable[Symmetry]:
        for turn in (STILL, -STILL):
            before, after = of_fields(self.before, turn), of_fields(self.after, turn)
            yield points_moved(before, after, turn, np.array([0.3, -0.2, 0.5]))

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from clouds_moved(self.before, self.after, random)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example(
            {"in_irreps": "0e + 1o", "out_irreps": "2x0e + 1o + 1e", "radius": 4.0, "count": 2}, ((2, 3, 4), (2, 3, 3))
        )
        yield Example(
            {"in_irreps": "2x0e", "out_irreps": "2x2e", "radius": 3.0, "count": 1, "neighbours": 2.0, "bias": False},
            ((1, 3, 2), (1, 3, 3)),
        )


def turn_volume(acting: GridGroup, element: int, fields: Irreps, x: Tensor) -> Tensor:
    """A volume of fields, turned by a symmetry of the cube: places move, and their numbers are mixed."""
    matrix = torch.from_numpy(fields.matrix(acting.matrices[element].astype(float))).to(x)
    return torch.einsum("ab,nb...->na...", matrix, act(x, acting, element))


def _radius(who: str, radius: float) -> float:
    if not 0 < radius < math.inf:
        raise ArgumentError.of(who, "a radius above 0", repr(radius), "give the reach of the filters")
    return float(radius)
