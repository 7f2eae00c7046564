"""What neurons do, on spherical features: values on a grid of the sphere through an activation and small layers, and back."""

import itertools
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry
from faltung.nn.symmetry.so3 import rotate, spherical_harmonics, wigner
from faltung.nn.symmetry.sphere_grid import taken_apart

ACTIVATIONS = {
    "silu": nn.functional.silu, "gelu": nn.functional.gelu, "softplus": nn.functional.softplus, "tanh": torch.tanh,
    "relu": torch.relu, "abs": torch.abs, "square": torch.square,
}  # fmt: skip

DENSE = 10
"""The highest degree at which one matrix takes coefficients to all points; above it latitudes and longitudes go in turn."""


@lru_cache(maxsize=64)
def sphere_maps(l: int, highest: int, latitudes: int, longitudes: int) -> tuple[np.ndarray, np.ndarray]:
    """Harmonics up to degree l and order `highest` at the points of a grid, (points, (l + 1)²), and back, (…, points); 0 beyond.

    Gauss–Legendre nodes along y times equal angles about it; both are scaled so that coefficients of variance 1 make values whose
    mean square over the sphere is 1. The way back undoes the way there where the grid carries degree 2l and order 2·highest.

    Example:
        >>> there, back = sphere_maps(2, 2, 3, 5)
        >>> bool(abs(back @ there - np.eye(9)).max() < 1e-14)
        True
    """
    nodes, weights = np.polynomial.legendre.leggauss(latitudes)
    angle = 2 * np.pi * np.arange(longitudes) / longitudes
    ring = np.sqrt(1 - nodes**2)[:, None]
    points = np.stack(np.broadcast_arrays(ring * np.sin(angle), nodes[:, None], ring * np.cos(angle)), -1)
    values = spherical_harmonics(l, torch.from_numpy(points.reshape(-1, 3))).numpy()
    kept = np.array([abs(m) <= highest for k in range(l + 1) for m in range(-k, k + 1)])
    scale = math.sqrt(4 * math.pi / kept.sum())
    there = np.where(kept, values, 0)
    return there * scale, (there * np.repeat(weights * 2 * np.pi / longitudes, longitudes)[:, None]).T / scale


class SphereActivation(Layer):
    """Functions on the sphere, given by spherical harmonics, sampled, sent through an activation and small layers, analysed again.

    Formula: `y = A·φ(... W₂ φ(W₁ φ(S x) + b₁) + b₂ ...)`; S takes coefficients to values on a grid, each W mixes channels at each
    point, A is the quadrature that undoes S. Scaled so that x of variance 1 has values of mean square 1.

    Shapes: input (n, (l + 1)², channels), returns the same; conventions of `faltung.nn.symmetry.so3`, which are e3nn's.

    Args:
        channels: at least 1.   l: highest degree, at least 0.   activation: "silu" (default), "gelu", "softplus", "tanh", "relu",
            "abs" or "square".
        hidden: channels between activations, from the first on; the last mixing is back to `channels`. Default: no mixing.
        highest: orders |m| up to this are read and written, others dropped; below l for features in the frame of an edge, see
            `SO2Conv.within`. Default: l, all.
        grid: latitudes, at least l + 1, and longitudes, at least 2·highest + 1. Default: 2(l + 1) and 4(highest + 1).

    Raises:
        ArgumentError: settings that name no layer.

    Error: commutes exactly with what moves the grid to itself: turns about y by one longitude, half a turn about z, mirrors. For
        other turns what the activation makes of degrees above those of the grid folds: for l = 4 "silu" is off by 2e-3 with the
        usual grid, 5e-6 with twice as many lines; "relu", for its kink, by 2e-2 and 4e-3. "square" is exact. With `highest` below l
        only turns about y are kept: the published 2·highest + 1 longitudes leave 0.3, the usual 3e-3 (l = 4, highest = 2, "silu").
    Cost: 2·(l + 1)²·latitudes·longitudes products for each channel, (l + 1)⁴·16 with the usual grid, and the mixing at each point.
        Above l = 10 latitudes and longitudes are taken in turn, 2·latitudes·(2·highest + 1)·(l + 1 + longitudes), (l + 1)³·40.
    Source: Cohen et al., Spherical CNNs (2018), for the idea; Passaro and Zitnick, Reducing SO(3) convolutions to SO(2) for
        efficient equivariant GNNs (2023), whose grid is latitudes 2(l + 1) and longitudes 2·highest + 1.

    Example:
        >>> layer = SphereActivation(4, 2)
        >>> layer.grid, layer(torch.randn(5, 9, 4)).shape
        ((6, 12), torch.Size([5, 9, 4]))
    """

    name = "sphere-activation"
    summary = "an activation, and small layers, on values of spherical features at points of the sphere"
    source = "Passaro and Zitnick, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs (2023)"
    cost = "16 · (l + 1)² for each of (l + 1)² results, 40 · (l + 1) above l = 10"
    dims = ()

    there: Tensor
    back: Tensor
    index: Tensor
    along: Tensor
    waves: Tensor
    home: Tensor
    place: Tensor

    def __init__(
        self,
        channels: int,
        l: int,
        activation: str = "silu",
        hidden: Sequence[int] = (),
        highest: int | None = None,
        grid: Sequence[int] | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.l, self.highest = functional.numbers("l, highest", (l, l if highest is None else highest), 2, 0)
        if activation not in ACTIVATIONS or self.highest > self.l:
            raise ArgumentError.of(
                "SphereActivation", f"activation among {', '.join(ACTIVATIONS)} and highest at most {self.l}",
                f"{activation!r} and {highest}", "choose one of these",
            )  # fmt: skip
        self.activation = activation
        usual = (2 * (self.l + 1), 4 * (self.highest + 1))
        self.grid = functional.numbers("grid", usual if grid is None else grid, 2, 1)
        if self.grid[0] <= self.l or self.grid[1] <= 2 * self.highest:
            raise ArgumentError.of(
                "SphereActivation", f"a grid of at least {self.l + 1} latitudes and {2 * self.highest + 1} longitudes",
                str(self.grid), "take a finer grid",
            )  # fmt: skip
        factory = {"device": device, "dtype": dtype}
        self.apart = self.l > DENSE
        maps = sphere_maps(self.l, self.highest, *self.grid)
        tables = dict(zip(("there", "back"), maps, strict=True))
        if self.apart:
            tables = self._in_turn(*maps)
        for name, table in tables.items():
            made = torch.tensor(np.ascontiguousarray(table)).to(device=device)
            if made.is_floating_point():
                made = made.to(dtype or torch.get_default_dtype())
            self.register_buffer(name, made, persistent=False)
        inner = tuple(functional.numbers("hidden", n, 1, 1)[0] for n in hidden)
        widths = (self.channels, *inner, self.channels) if inner else ()
        self.mixing = nn.ModuleList(nn.Linear(a, b, **factory) for a, b in itertools.pairwise(widths))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, (self.l + 1) ** 2, 1)
        if input.shape[2] != self.channels:
            raise ArgumentError.of(
                "SphereActivation", f"an input (n, harmonics, {self.channels})", f"{tuple(input.shape)}", "match the channels"
            )  # fmt: skip
        act = ACTIVATIONS[self.activation]
        values = act(self._sampled(input))
        for n, mix in enumerate(self.mixing, 1):
            values = mix(values) if n == len(self.mixing) else act(mix(values))
        return self._analysed(values)

    def _in_turn(self, there: np.ndarray, back: np.ndarray) -> dict[str, np.ndarray]:
        """Both ways along latitudes and along longitudes, and where (m, l) stands among coefficients and among these rows."""
        values = there.reshape(*self.grid, -1)
        index, along, waves = taken_apart(values, self.l, self.highest)
        _, home, _ = taken_apart(np.moveaxis(back, 0, -1).reshape(values.shape), self.l, self.highest)
        beyond = index.size
        place = [
            (m + self.highest) * (self.l + 1) + k if abs(m) <= self.highest else beyond
            for k in range(self.l + 1)
            for m in range(-k, k + 1)
        ]
        return {
            "index": index,
            "along": along,
            "waves": waves,
            "home": home.transpose(0, 2, 1),
            "place": np.array(place),
        }

    def _sampled(self, x: Tensor) -> Tensor:
        """Values at the points, (n, points, channels)."""
        if not self.apart:
            return torch.matmul(self.there, x)
        rows = nn.functional.pad(x, (0, 0, 0, 1))[:, self.index]  # (n, m, l, c), zeros where |m| > l
        along = torch.matmul(self.along, rows).flatten(2)  # (n, m, latitudes·c)
        around = torch.matmul(self.waves, along).unflatten(2, (self.grid[0], -1))
        return around.transpose(1, 2).flatten(1, 2)

    def _analysed(self, values: Tensor) -> Tensor:
        """Coefficients of values at the points."""
        if not self.apart:
            return torch.matmul(self.back, values)
        around = torch.matmul(self.waves.T, values.unflatten(1, self.grid).transpose(1, 2).flatten(2))
        found = torch.matmul(self.home, around.unflatten(2, (self.grid[0], -1)))  # (n, m, l, c)
        return nn.functional.pad(found.flatten(1, 2), (0, 0, 0, 1))[:, self.place]

    def definition(self, *inputs: Any) -> Tensor:
        """Point by point, by waves of each order and the integral as a sum over latitudes."""
        (x,) = inputs
        act, result = ACTIVATIONS[self.activation], torch.zeros_like(x)
        kept = [k * k + k + m for k in range(self.l + 1) for m in range(-k, k + 1) if abs(m) <= self.highest]
        scale = math.sqrt(4 * math.pi / len(kept))
        nodes, weights = np.polynomial.legendre.leggauss(self.grid[0])
        for node, weight in zip(nodes, weights, strict=True):
            for n in range(self.grid[1]):
                angle, ring = 2 * math.pi * n / self.grid[1], math.sqrt(1 - node * node)
                point = x.new_tensor([ring * math.sin(angle), float(node), ring * math.cos(angle)])
                harmonics = spherical_harmonics(self.l, point)[kept]
                value = act(scale * torch.einsum("k,nkc->nc", harmonics, x[:, kept]))
                for i, mix in enumerate(self.mixing):
                    value = torch.einsum("oc,nc->no", mix.weight, value) + mix.bias
                    value = act(value) if i + 1 < len(self.mixing) else value
                area = float(weight) * 2 * math.pi / self.grid[1] / scale
                result[:, kept] += area * harmonics[None, :, None] * value[:, None]
        return result

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return sum((mix.in_features + 1) * mix.out_features for mix in self.mixing)

    def symmetries(self) -> Iterable[Symmetry]:
        c, s = math.cos(2 * math.pi / self.grid[1]), math.sin(2 * math.pi / self.grid[1])
        for name, rows in (
            ("a turn about y by one longitude", [[c, 0, s], [0, 1, 0], [-s, 0, c]]),
            ("half a turn about z", [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]),
            ("a mirror that negates x", [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ):
            matrices = wigner(self.l, torch.tensor(rows, dtype=torch.float64))

            def by(x: Tensor, matrices: list[Tensor] = matrices) -> Tensor:
                return rotate(x, [d.to(x) for d in matrices])

            yield Symmetry(name, by, by)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "l": 2}, ((3, 9, 2),))
        yield Example({"channels": 2, "l": 1, "activation": "tanh", "hidden": (3, 2)}, ((2, 4, 2),))
        yield Example({"channels": 1, "l": 3, "activation": "gelu", "highest": 1, "grid": (8, 3)}, ((2, 16, 1),))
        yield Example({"channels": 1, "l": 11, "highest": 3, "grid": (12, 8)}, ((2, 144, 1),), tiny=False)
