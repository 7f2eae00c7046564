"""Matrix groups by their polar decomposition: global coordinates where the exponential map reaches not every element.

Every matrix with a positive determinant is `g = S·R`, S symmetric with positive eigenvalues, R a rotation. Both factors have
logarithms, so that (log S, log R) are coordinates of the whole group, though GL⁺(n) and SL(n) have elements (a turn of half a
circle with two different scales, say) that are the exponential of no matrix.
"""

import math
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.lie.spectra import exp_symmetric, log_rotation, log_symmetric, polar

ROTATIONS = ("equidistant", "turned", "random")
_HALF_TURN = 1e-6


class MatrixGroup:
    """A group of real n × n matrices of positive determinant, with coordinates by polar decomposition.

    Formula: `g = exp(Σ_a ξ_a B_a) · exp(Σ_b ξ_b C_b)`, B an orthonormal basis of the symmetric part for the product α·tr(XY) (two
    entries of 1/√(2α) off the diagonal), C the planes of rotation, whose coordinates are angles in radians.

    Args:
        n: size of the matrices, at least 1.   alpha: of that product, above 0. Default 1.

    Raises:
        ArgumentError: other numbers.
    """

    least = 1
    volume_preserving = False
    """Whether every determinant is 1."""

    def __init__(self, n: int, alpha: float = 1.0) -> None:
        who = type(self).__name__
        if not isinstance(n, int) or isinstance(n, bool) or n < self.least:
            raise ArgumentError.of(who, f"a whole number of at least {self.least}", repr(n), "use 2 for images")
        if not 0 < alpha < math.inf:
            raise ArgumentError.of(who, "an alpha above 0", repr(alpha), "leave it out for 1")
        self.n, self.alpha = n, float(alpha)
        stretches = self._stretches() / math.sqrt(self.alpha)
        self.symmetric, self.skew = stretches, _planes(n)
        self.dim = len(stretches) + len(self.skew)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n}{'' if self.alpha == 1 else f', alpha={self.alpha}'})"

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def _stretches(self) -> Tensor:
        """The basis of the symmetric part for α = 1, (k, n, n) in float64."""
        raise ArgumentError.of(type(self).__name__, "a basis of the symmetric part", "none", "use GLPlus, SL or SO")

    def parts(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """The symmetric and the skew matrix (..., n, n) that these coordinates (..., dim) stand for."""
        many = len(self.symmetric)
        bases = [basis.to(coordinates) for basis in (self.symmetric, self.skew)]
        pieces = (coordinates[..., :many], coordinates[..., many:])
        first, second = (torch.einsum("...a,aij->...ij", v, b) for v, b in zip(pieces, bases, strict=True))
        return first, second

    def exp(self, coordinates: Tensor) -> Tensor:
        """ξ: the element (..., n, n) with these coordinates (..., dim)."""
        stretch, turn = self.parts(coordinates)
        turned = torch.linalg.matrix_exp(turn)
        return exp_symmetric(stretch) @ turned if len(self.symmetric) else turned

    def log(self, g: Tensor) -> Tensor:
        """ξ⁻¹: the coordinates (..., dim) of elements (..., n, n), `½ log(g gᵀ)` and the logarithm of the rotation.

        Error: for n = 2 angles lie in (−π, π]. From n = 3 on, angles near half a circle lose digits as 1/(π − angle); at it, the
        logarithm has no one value.
        """
        found = []
        if len(self.symmetric):
            half = log_symmetric(self.polar(g)[0])  # ½ log(g gᵀ), without squaring g's condition number
            # The basis is orthonormal for α·tr(XY), so coordinates are products with it.
            found.append(self.alpha * torch.einsum("...ij,aij->...a", half, self.symmetric.to(g)))
        if len(self.skew):
            if self.n == 2:  # S has no part that turns: the angle of S·R can be read off
                angle = torch.atan2(g[..., 1, 0] - g[..., 0, 1], g[..., 0, 0] + g[..., 1, 1])
                # A half turn has one angle, π, on whichever side of it rounding falls.
                found.append(torch.where(angle < -math.pi + _HALF_TURN, angle + 2 * math.pi, angle)[..., None])
            else:
                turn = log_rotation(self.polar(g)[1])
                found.append(torch.einsum("...ij,aij->...a", turn, self.skew.to(g)) / 2)
        return torch.cat(found, -1) if found else g.new_zeros(*g.shape[:-2], 0)

    def polar(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """S, symmetric with positive eigenvalues, and the rotation R with g = S·R."""
        return polar(g)

    def sample(
        self, count: int, spread: float = 0.1, rotations: str = "equidistant", generator: torch.Generator | None = None
    ) -> Tensor:
        """Elements (count, n, n) in float64 that spread over the group: log-normal stretches, each with a rotation.

        Args:
            count: at least 1.   spread: variance of each coordinate of the stretch, at least 0. Default 0.1.
            rotations: for n = 2 "equidistant", angles 2πi / count, without the second 0 that 2π would be; "turned", the same from
                a random start; "random", each by itself. For n above 2 all three draw from the uniform distribution.
            generator: of the random numbers. Default: torch's.

        Raises:
            ArgumentError: other numbers or words.
        """
        if not isinstance(count, int) or isinstance(count, bool) or count < 1 or not spread >= 0:
            raise ArgumentError.of(
                "sample", "at least one element and a spread of at least 0", f"{count!r}, {spread!r}", "correct them"
            )
        if rotations not in ROTATIONS:
            raise ArgumentError.of("sample", f"rotations among {', '.join(ROTATIONS)}", repr(rotations), "use one")
        kind: Any = {"dtype": torch.float64, "generator": generator}
        many = len(self.symmetric)
        found = torch.eye(self.n, dtype=torch.float64).expand(count, -1, -1)
        if self.n == 2:
            angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
            if rotations == "turned":
                angles = angles + torch.rand(1, **kind) * (2 * math.pi / count)
            elif rotations == "random":
                angles = torch.rand(count, **kind) * (2 * math.pi)
            found = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], -1).reshape(-1, 2, 2)
        elif self.n > 2:
            found = _uniform_rotations(torch.randn(count, self.n, self.n, **kind))
        if many:
            drawn = torch.randn(count, many, **kind) * math.sqrt(spread)
            found = exp_symmetric(torch.einsum("sa,aij->sij", drawn, self.symmetric)) @ found
        return found

    def density(self, coordinates: Tensor, spread: float = 0.1) -> Tensor:
        """The density of `sample` in the coordinates of the stretch, (...), for uniform rotations of total mass 1."""
        many = len(self.symmetric)
        square = coordinates[..., :many].square().sum(-1)
        return torch.exp(-square / (2 * spread)) / (2 * math.pi * spread) ** (many / 2)

    def haar_density(self, coordinates: Tensor) -> Tensor:
        """The density (...) of the invariant measure in these coordinates (..., dim), 1 at the identity.

        Formula: `Π over i<j of sinh(μ_i − μ_j) / (μ_i − μ_j)` for the eigenvalues μ of the symmetric part, times
        `Π over i<j of sin(s) / s`, s = (θ_i + θ_j) / 2 for the eigenvalues iθ of the skew one. The groups are unimodular: left and
        right measure are one.
        """
        stretch, turn = self.parts(coordinates)
        upper = torch.triu_indices(self.n, self.n, 1)
        result = torch.ones_like(coordinates[..., 0]) if self.dim else coordinates.new_ones(coordinates.shape[:-1])
        if len(self.symmetric) and self.n > 1:
            mu = torch.linalg.eigvalsh(stretch)
            gaps = mu[..., upper[1]] - mu[..., upper[0]]
            close = gaps.abs() < 1e-4
            safe = torch.where(close, 1, gaps)
            result = result * torch.where(close, 1 + gaps**2 / 6, torch.sinh(safe) / safe).prod(-1)
        if self.n > 2:
            theta = torch.linalg.eigvalsh(1j * turn)
            result = result * torch.sinc((theta[..., upper[0]] + theta[..., upper[1]]) / (2 * math.pi)).abs().prod(-1)
        return result

    def haar_stretch(self, coordinates: Tensor) -> Tensor:
        """The part of `haar_density` that belongs to the stretch alone, (...): what samples are weighed with."""
        many = len(self.symmetric)
        return self.haar_density(torch.cat([coordinates[..., :many], 0 * coordinates[..., many:]], -1))


class GLPlus(MatrixGroup):
    """GL⁺(n): all matrices with a positive determinant; stretches, shears, scalings and rotations.

    Args: see `MatrixGroup`.   Source: Mironenco and Forré, Lie group decompositions for equivariant neural networks (2024).

    Example:
        >>> GLPlus(2).log(torch.tensor([[2.0, 0.0], [0.0, 0.5]]))
        tensor([ 0.6931, -0.6931,  0.0000,  0.0000])
    """

    def _stretches(self) -> Tensor:
        return torch.cat([torch.diag_embed(torch.eye(self.n, dtype=torch.float64)), _shears(self.n)])


class SL(MatrixGroup):
    """SL(n): matrices with determinant 1, which keep areas and volumes.

    Args: see `MatrixGroup`; n at least 2.

    Example:
        >>> SL(2).dim, torch.linalg.det(SL(2).exp(torch.randn(3))).round(decimals=4)
        (3, tensor(1.))
    """

    least, volume_preserving = 2, True

    def _stretches(self) -> Tensor:
        n = self.n
        rows = []
        for k in range(1, n):  # k ones, then −k: orthogonal to one another and to the identity
            row = torch.zeros(n, dtype=torch.float64)
            row[:k], row[k] = 1, -k
            rows.append(torch.diag(row / math.sqrt(k * (k + 1))))
        return torch.cat([torch.stack(rows), _shears(n)])


class SO(MatrixGroup):
    """SO(n): the rotations.

    Args: see `MatrixGroup`; n at least 2.

    Example:
        >>> SO(2).sample(4)[1].round().abs()
        tensor([[0., 1.],
                [1., 0.]], dtype=torch.float64)
    """

    least, volume_preserving = 2, True

    def _stretches(self) -> Tensor:
        return torch.zeros(0, self.n, self.n, dtype=torch.float64)


class Affine:
    """The affine group of R^n with linear parts in H: matrices [[h, x], [0, 1]], which send p to h·p + x.

    Coordinates (..., n + dim H) are x, then those of h. A group convolution's kernel sees those of g⁻¹g̃: the place `h⁻¹(y − x)`
    and `ξ⁻¹(h⁻¹h̃)`.

    Args:
        linear: H, a `GLPlus`, `SL` or `SO`.

    Raises:
        ArgumentError: no such group.

    Example:
        >>> Affine(SO(2)).log(torch.tensor([[0.0, -1.0, 3.0], [1.0, 0.0, 4.0], [0.0, 0.0, 1.0]])).tolist()
        [3.0, 4.0, 1.5707963705062866]
    """

    def __init__(self, linear: MatrixGroup) -> None:
        if not isinstance(linear, MatrixGroup):
            raise ArgumentError.of("Affine", "a group of matrices", repr(linear), "write Affine(SL(2)), say")
        self.linear, self.n, self.dim = linear, linear.n, linear.n + linear.dim

    def __repr__(self) -> str:
        return f"Affine({self.linear!r})"

    def join(self, h: Tensor, x: Tensor) -> Tensor:
        """The matrix [[h, x], [0, 1]] of a linear part (..., n, n) and a place (..., n)."""
        last = torch.zeros_like(torch.cat([x, x[..., :1]], -1))
        last[..., -1] = 1
        return torch.cat([torch.cat([h, x[..., None]], -1), last[..., None, :]], -2)

    def exp(self, coordinates: Tensor) -> Tensor:
        """The element (..., n + 1, n + 1) with these coordinates."""
        return self.join(self.linear.exp(coordinates[..., self.n :]), coordinates[..., : self.n])

    def log(self, g: Tensor) -> Tensor:
        """The coordinates (..., dim) of elements."""
        return torch.cat([g[..., : self.n, self.n], self.linear.log(g[..., : self.n, : self.n])], -1)

    def polar(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x, S and R with `g·p = S·R·p + x`."""
        return (g[..., : self.n, self.n], *self.linear.polar(g[..., : self.n, : self.n]))

    def sample(
        self, count: int, spread: float = 0.1, rotations: str = "equidistant", reach: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """Elements with linear parts as `MatrixGroup.sample` draws them, and normal places of deviation `reach`."""
        h = self.linear.sample(count, spread, rotations, generator)
        return self.join(h, torch.randn(count, self.n, dtype=torch.float64, generator=generator) * reach)

    def haar_density(self, coordinates: Tensor) -> Tensor:
        """The density of the left-invariant measure, `haar(h) / |det h|`; right and left are one only where H preserves volumes."""
        h = coordinates[..., self.n :]
        return self.linear.haar_density(h) / torch.linalg.det(self.linear.exp(h)).abs()


NAMED = {"GL+": GLPlus, "SL": SL, "SO": SO}


def matrix_group(given: Any, n: int) -> MatrixGroup:
    """The group of that name on n axes ("GL+", "SL", "SO"), or the group itself.

    Raises:
        ArgumentError: neither, or one for another number of axes.
    """
    if isinstance(given, Affine):
        given = given.linear
    if isinstance(given, str) and given in NAMED:
        return NAMED[given](n)
    if isinstance(given, MatrixGroup) and given.n == n:
        return given
    raise ArgumentError.of(
        "group", f"one of {', '.join(NAMED)}, or a group on {n} axes", repr(given), "write 'SL', say"
    )


def _shears(n: int) -> Tensor:
    """Symmetric matrices with two equal entries off the diagonal, of norm 1."""
    found = torch.zeros(n * (n - 1) // 2, n, n, dtype=torch.float64)
    for k, (i, j) in enumerate(torch.triu_indices(n, n, 1).T.tolist()):
        found[k, i, j] = found[k, j, i] = math.sqrt(0.5)
    return found


def _planes(n: int) -> Tensor:
    """Skew matrices that turn axis i towards axis j by an angle of 1."""
    found = torch.zeros(n * (n - 1) // 2, n, n, dtype=torch.float64)
    for k, (i, j) in enumerate(torch.triu_indices(n, n, 1).T.tolist()):
        found[k, i, j], found[k, j, i] = -1, 1
    return found


def _uniform_rotations(normal: Tensor) -> Tensor:
    """Rotations (s, n, n), uniform where the numbers are normal: orthogonal factors with signs that make them unique."""
    q, r = torch.linalg.qr(normal)
    q = q * torch.diagonal(r, dim1=-2, dim2=-1).sign()[:, None, :]
    sign = torch.linalg.det(q).sign()
    return torch.cat([q[..., :1] * sign[:, None, None], q[..., 1:]], -1)
