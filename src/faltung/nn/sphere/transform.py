"""Spherical harmonic transforms of every spin, exact on the grids of this family: matrix products only, two for each way.

Along longitudes a Fourier transform, as a product with a matrix of waves, or as an FFT for long rows; along
latitudes, for each order m, a product with Wigner's d. Tables are made in double precision, whatever the dtype they are kept in.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.sphere.grid import SphereGrid, sphere_grid
from faltung.nn.sphere.wigner import big_d, small_d

LONGEST = {
    "analysis": 64,
    "synthesis": 128,
}  # columns up to which a matrix of waves is faster than FFT and transposition


@lru_cache(maxsize=64)
def latitude_tables(grid: SphereGrid, spins: tuple[int, ...], degree: int, half: bool) -> tuple[np.ndarray, np.ndarray]:
    """Analysis (spins, orders, rows, degree + 1) and synthesis (spins, orders, degree + 1, rows).

    Synthesis is `(−1)^s √((2l + 1)/4π) d_m,−s(θ)`, analysis the same times the weight of each sample. With `half` the orders are
    0 ... degree: for real functions.
    """
    small = small_d(degree, tuple(-s for s in spins), grid.theta)  # (l, m, spins, rows)
    scale = np.sqrt((2 * np.arange(degree + 1) + 1) / (4 * np.pi))[:, None, None, None]
    values = (small * scale * np.array([(-1.0) ** s for s in spins])[:, None]).transpose(2, 1, 0, 3)
    values = values[:, degree:] if half else values
    analysis = (values * grid.weights).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(analysis), np.ascontiguousarray(values)


@lru_cache(maxsize=64)
def wave_table(columns: int, degree: int, half: bool, conjugate: bool, real: bool) -> np.ndarray:
    """e^(∓imφ) as a real matrix: (orders, plane, columns) for real samples, (orders, plane, columns, plane) for complex ones.

    Planes are real and imaginary part; `conjugate` takes the minus sign.
    """
    orders = np.arange(0 if half else -degree, degree + 1)
    # The angle of m·j modulo columns: as exact as a double is, whatever the order.
    angle = 2 * np.pi * (np.outer(orders, np.arange(columns)) % columns) / columns
    cosine, sine = np.cos(angle), np.sin(angle) * (-1 if conjugate else 1)
    if real:
        return np.stack([cosine, sine], 1)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], 1)


class Transform(nn.Module):
    """Between samples (batch, channels, spins, rows, columns) and planes (orders, 2, batch, channels, spins, degree + 1).

    What layers are made of; `SpinSHT` is the same for people. `half` means that functions are real: orders 0 ... degree are
    kept, and samples are real. Without it they are complex. `ways` says which of "analysis", "synthesis" is needed.
    """

    def __init__(
        self,
        grid: SphereGrid,
        spins: Sequence[int],
        degree: int,
        half: bool,
        ways: str = "analysis synthesis",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.grid, self.spins, self.degree, self.half = grid, tuple(spins), degree, half
        self.orders = degree + 1 if half else 2 * degree + 1
        self.short = {way: grid.columns <= longest for way, longest in LONGEST.items()}
        kept = dtype.to_real() if dtype is not None else torch.get_default_dtype()
        for name in self._tables(ways):
            self.register_buffer(name, torch.empty(0, device=device, dtype=kept), persistent=False)
        self._fill()

    def _tables(self, ways: str) -> list[str]:
        return [
            name
            for way in ways.split()
            for name in ((f"{way}_legendre", f"{way}_waves") if self.short[way] else (f"{way}_legendre",))
        ]

    def _made(self, name: str) -> np.ndarray:
        """A table in double precision."""
        way, what = name.split("_")
        if what == "legendre":
            found = latitude_tables(self.grid, self.spins, self.degree, self.half)[way == "synthesis"]
            if way == "synthesis" and self.half and self.short[way]:  # an inverse FFT would count them itself
                found = np.concatenate([found[:, :1], 2 * found[:, 1:]], 1)
            return found.reshape(-1, *found.shape[2:])
        columns, planes = self.grid.columns, 1 if self.half else 2
        waves = wave_table(columns, self.degree, self.half, way == "analysis", self.half)
        if way == "analysis":
            return waves.reshape(2 * self.orders, columns * planes)
        if self.half:  # the real part: cosine times the real plane, minus sine times the imaginary one
            waves = waves * np.array([1.0, -1.0])[:, None]
            return waves.reshape(2 * self.orders, columns)
        # (orders, plane of the result, columns, plane of the coefficient) with the coefficient in front
        return waves.transpose(0, 3, 2, 1).reshape(2 * self.orders, columns * planes)

    def _fill(self) -> None:
        for name, buffer in self.named_buffers():
            setattr(self, name, torch.tensor(self._made(name)).to(buffer.dtype).to(buffer.device))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """torch's way to move and cast: tables are made anew in the new precision, so that .float().double() loses nothing."""
        before = [b.dtype for b in self.buffers()]
        super()._apply(fn, recurse)
        if [b.dtype for b in self.buffers()] != before:
            self._fill()
        return self

    def around(self, x: Tensor) -> Tensor:
        """Along longitudes: (batch, channels, spins, rows, columns) to planes (orders, 2, batch, channels, spins, rows)."""
        lead = x.shape[:-1]
        if not self.short["analysis"]:
            if 0 in lead:  # FFTs refuse what has no samples
                return x.real.new_zeros(self.orders, 2, *lead)
            if self.half:
                waves = torch.fft.rfft(x)[..., : self.orders]
            else:
                waves = torch.fft.fft(x)
                waves = (
                    torch.cat([waves[..., -self.degree :], waves[..., : self.degree + 1]], -1)
                    if self.degree
                    else waves[..., :1]
                )
            rows = waves.transpose(
                -1, -2
            )  # rows innermost, orders where they are: products take such strides as they are
            return torch.stack([rows.real, rows.imag]).movedim(-2, 0)
        flat = x if self.half else torch.view_as_real(x.resolve_conj())
        planes = torch.matmul(self.analysis_waves, flat.reshape(-1, self.analysis_waves.shape[1]).T)
        return planes.reshape(self.orders, 2, *lead)

    def along(self, planes: Tensor, way: str) -> Tensor:
        """Along latitudes, for each order and spin: the last axis from rows to degrees, or back."""
        table = self.analysis_legendre if way == "analysis" else self.synthesis_legendre
        orders, two, batch, channels, spins, size = planes.shape
        if spins == 1:
            flat = planes.reshape(orders, two * batch * channels, size)
            return torch.bmm(flat, table).reshape(orders, two, batch, channels, 1, table.shape[2])
        flat = planes.movedim(4, 0).reshape(spins * orders, two * batch * channels, size)
        return torch.bmm(flat, table).reshape(spins, orders, two, batch, channels, table.shape[2]).movedim(0, 4)

    def back_around(self, planes: Tensor) -> Tensor:
        """Along longitudes back: planes (orders, 2, batch, channels, spins, rows) to samples."""
        orders, _, *lead = planes.shape
        n = self.grid.columns
        if not self.short["synthesis"]:
            if 0 in lead:
                return planes.new_zeros(*lead, n) if self.half else torch.view_as_complex(planes.new_zeros(*lead, n, 2))
            waves = torch.complex(planes[:, 0], planes[:, 1]).movedim(0, -1)
            if self.half:  # irfft counts orders above 0 twice itself
                return torch.fft.irfft(nn.functional.pad(waves, (0, n // 2 + 1 - orders)), n=n, norm="forward")
            between = waves.new_zeros(*lead, n - orders)
            return torch.fft.ifft(
                torch.cat([waves[..., self.degree :], between, waves[..., : self.degree]], -1), norm="forward"
            )
        flat = torch.matmul(planes.reshape(2 * orders, -1).T, self.synthesis_waves)
        return flat.reshape(*lead, n) if self.half else torch.view_as_complex(flat.reshape(*lead, n, 2))

    def analyse(self, x: Tensor) -> Tensor:
        """Samples to planes of coefficients."""
        return self.along(self.around(x), "analysis")

    def synthesise(self, planes: Tensor) -> Tensor:
        """Planes of coefficients to samples."""
        return self.back_around(self.along(planes, "synthesis"))


def wide(tensor: Tensor) -> Any:
    """Where autocast would narrow matrix products, it is kept from that: transforms are no place for half numbers."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def at_least_single(x: Tensor) -> Tensor:
    """Half numbers as float32, others as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class SpinSHT(nn.Module):
    """The spherical harmonic transform of functions of given spins, exact on its grid: analysis, synthesis, rotation.

    Formula: `a_lm = ∫ f(θ, φ) conj(Y_lm) dΩ`, `f = Σ a_lm Y_lm` with harmonics of spin s, `faltung.nn.sphere.harmonics`; the
    integral is a sum that is exact for every function of degrees up to `degree`. A function of spin s picks up the phase
    `e^(−isψ)` when the frame at its place is turned by ψ: 0 for numbers, 1 for tangent vectors (as `v_θ + i·v_φ` up to sign),
    2 for polarisation.

    Shapes: samples (..., spins, rows, columns), coefficients (..., spins, (degree + 1)²), complex, the one of degree l and order m
    at l² + l + m; those below |spin| are 0. Where `spins` is a number there is no axis for it.

    Args:
        resolution: n for n × n, or (rows, columns), or a `SphereGrid`.   spins: whole numbers, or one. Default 0.
        grid: "equiangular" (both poles, default), "gauss" (the fewest rows), "midpoint", "driscoll-healy".
        degree: up to the grid's, which is the default.

    Raises:
        ArgumentError: a size, degree or spin that fits no grid, samples of another shape.   DtypeError: tensors of whole numbers.

    Error: rounding; coefficients come back to 1e-14 in float64 at degree 5, 1e-13 at 100.
    Cost: columns·degree·rows + rows·degree² products a function and way.
    Source: McEwen and Wiaux (2011) and Huffenberger and Wandelt (2010) on exact sampling; Esteves, Slotine and Makadia (2023).

    Example:
        >>> sht = SpinSHT(8)
        >>> cosine = torch.tensor(sht.grid.points[..., 2], dtype=torch.float32)
        >>> sht(cosine)[2].real, sht.inverse(sht(cosine)).shape  # √(4π/3)
        (tensor(2.0467), torch.Size([8, 8]))
    """

    def __init__(
        self, resolution: Any, spins: int | Sequence[int] = 0, grid: str = "equiangular", degree: int | None = None,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.grid = sphere_grid(resolution, grid)
        self.single = isinstance(spins, int)
        self.spins = checked_spins("SpinSHT", (spins,) if isinstance(spins, int) else spins)
        self.degree = checked_degree("SpinSHT", self.grid, degree)
        factory = {"device": device, "dtype": dtype}
        self.complex = Transform(self.grid, self.spins, self.degree, half=False, **factory)

    def extra_repr(self) -> str:
        return f"{self.grid.rows} × {self.grid.columns} {self.grid.kind}, spins {self.spins}, degree {self.degree}"

    def forward(self, x: Tensor) -> Tensor:
        """Coefficients of samples; real ones count as complex."""
        tail = (
            (self.grid.rows, self.grid.columns) if self.single else (len(self.spins), self.grid.rows, self.grid.columns)
        )
        _expect("SpinSHT", x, tail, "samples")
        lead = x.shape[: x.ndim - len(tail)]
        x = at_least_single(x)
        samples = (x if x.is_complex() else torch.complex(x, torch.zeros_like(x))).reshape(
            -1, 1, len(self.spins), *tail[-2:]
        )
        with wide(x):
            planes = self.complex.analyse(samples)
        found = flattened(planes)[:, 0]
        return found.reshape(*lead, *(() if self.single else (len(self.spins),)), (self.degree + 1) ** 2)

    def inverse(self, a: Tensor) -> Tensor:
        """Samples of coefficients, complex."""
        count = (self.degree + 1) ** 2
        tail = (count,) if self.single else (len(self.spins), count)
        _expect("SpinSHT.inverse", a, tail, "coefficients")
        a = a if a.is_complex() else torch.complex(a, torch.zeros_like(a))
        with wide(a):
            samples = self.complex.synthesise(unflattened(a.reshape(-1, 1, len(self.spins), count), self.degree))
        lead = a.shape[: a.ndim - len(tail)]
        return samples.reshape(*lead, *tail[:-1], self.grid.rows, self.grid.columns)

    def rotate(self, a: Tensor, rotation: Any, beta: float | None = None, gamma: float | None = None) -> Tensor:
        """Coefficients of the functions turned by Rz(α) Ry(β) Rz(γ): for spin 0 `f'(x) = f(R⁻¹ x)`.

        Args:
            a: coefficients (..., (degree + 1)²).   rotation: (α, β, γ) in radians, or a matrix (3, 3); or α, with β and γ
            behind it.
        """
        _expect("SpinSHT.rotate", a, ((self.degree + 1) ** 2,), "coefficients")
        turn = rotation if beta is None else (rotation, beta, gamma or 0.0)
        return rotated(a, turn)


def rotated(a: Tensor, rotation: Any) -> Tensor:
    """Coefficients (..., (degree + 1)²), degree by degree times D^l of the rotation."""
    degree = math.isqrt(a.shape[-1]) - 1
    a = a if a.is_complex() else torch.complex(a, torch.zeros_like(a))
    pieces = []
    for l, d in enumerate(big_d(degree, rotation)):
        pieces.append(torch.matmul(a[..., l * l : (l + 1) ** 2], torch.tensor(d.T.copy()).to(a)))
    return torch.cat(pieces, -1)


def flattened(planes: Tensor) -> Tensor:
    """Planes of all orders (2L + 1, 2, batch, channels, spins, L + 1) as complex (batch, channels, spins, (L + 1)²)."""
    degree = planes.shape[-1] - 1
    both = torch.complex(planes[:, 0], planes[:, 1])  # (m, batch, channels, spins, l)
    rows = [both[degree - l : degree + l + 1, ..., l].movedim(0, -1) for l in range(degree + 1)]
    return torch.cat(rows, -1)


def unflattened(a: Tensor, degree: int) -> Tensor:
    """The way back, zeros where |m| > l."""
    rows = [
        nn.functional.pad(
            torch.view_as_real(a[..., l * l : (l + 1) ** 2].resolve_conj()), (0, 0, degree - l, degree - l)
        )
        for l in range(degree + 1)
    ]
    return torch.stack(rows, -1).movedim((-3, -2), (0, 1))


def checked_spins(who: str, spins: Any) -> tuple[int, ...]:
    """Spins as a tuple of whole numbers, each once.

    Raises:
        ArgumentError: none, or one twice, or no whole numbers.
    """
    found = (spins,) if isinstance(spins, int) else tuple(spins)
    if (
        not found
        or len(set(found)) < len(found)
        or not all(isinstance(s, int) and not isinstance(s, bool) for s in found)
    ):
        raise ArgumentError.of(who, "different whole numbers for spins", repr(spins), "write (0, 1), say")
    return found


def checked_degree(who: str, grid: SphereGrid, degree: int | None) -> int:
    """The degree, or the grid's where none is given.

    Raises:
        ArgumentError: more than the grid carries.
    """
    if degree is None:
        return grid.degree
    if not isinstance(degree, int) or not 0 <= degree <= grid.degree:
        raise ArgumentError.of(
            who,
            f"a degree from 0 to {grid.degree}, for {grid.rows} × {grid.columns} {grid.kind}",
            repr(degree),
            "take a finer grid",
        )
    return degree


def _expect(who: str, x: Any, tail: tuple[int, ...], what: str) -> None:
    if not isinstance(x, Tensor) or not (x.is_floating_point() or x.is_complex()):
        came = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise DtypeError.of(who, "a tensor of real or complex numbers", came, "convert it with .float()")
    if tuple(x.shape[x.ndim - len(tail) :]) != tail or x.ndim < len(tail):
        raise ArgumentError.of(
            who, f"{what} (..., {', '.join(map(str, tail))})", f"shape {tuple(x.shape)}", "match the transform"
        )
