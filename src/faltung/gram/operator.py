"""Gram matrices of lattices and digital nets: circulants and XOR-circulants, multiplied, solved and sampled by one transform."""

from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft

from faltung.engine import fwht
from faltung.errors import ArgumentError, RefusedError
from faltung.gram import reversed_fft
from faltung.gram.kernels import ProductKernel
from faltung.gram.lattices import Lattice
from faltung.gram.nets import DigitalNet
from faltung.kernels.threads import available

DENSE = 1 << 14  # points up to which `dense` writes the matrix down
_GROUPS = {"cyclic": "shift_invariant and lattice", "xor": "digital_shift_invariant and digital_net"}


class Gram:
    """`K + ξ`, K the matrix of a kernel between the points of a design; made by `operator`.

    `gram @ y`, `solve`, `logdet`, `sqrt_sample`, `first_column`, `eigenvalues`, `double`, `dense`.
    """

    def __init__(self, design: Lattice | DigitalNet, kernel: ProductKernel, noise: float, spectrum: np.ndarray) -> None:
        self.design, self.kernel, self.noise = design, kernel, noise
        self.shape = (design.n, design.n)
        self._spectrum = spectrum  # of K − S, in the design's order of frequencies

    @cached_property
    def first_column(self) -> np.ndarray:
        """Kernel values between the first point and all, noise left out; (n,)."""
        return self.kernel.scale + self.kernel.minus_one(self.design.differences())

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Of K, noise left out, one for each frequency of the design's transform, the constant first.

        Shapes: (n,) for nets, (n // 2 + 1,) for lattices, whose others are mirror images. K − S, the matrix without the one, is
        transformed, and n·S added to the constant's: so small eigenvalues are not lost beside n·S.
        """
        values = self._spectrum.copy()
        values[0] += self.design.n * self.kernel.scale
        return values

    @property
    def noisy(self) -> np.ndarray:
        """`eigenvalues` with the noise."""
        return self.eigenvalues + self.noise

    @cached_property
    def floor(self) -> float:
        """What eigenvalues may be wrong by: rounding of the transform, 2⁻⁵² log₂ n · the norm of the first column without S."""
        n = self.design.n
        norm = np.sqrt(float(self.multiplicity @ self._spectrum**2) / n)
        return 2.0**-52 * max(1, n.bit_length() - 1) * norm

    @cached_property
    def multiplicity(self) -> np.ndarray:
        """How often each of `eigenvalues` occurs."""
        count = np.ones(len(self._spectrum))
        if self.design.group == "cyclic":
            count[1 : (self.design.n + 1) // 2] = 2.0
        return count

    def transform(self, y: np.ndarray) -> np.ndarray:
        """The orthonormal transform of values at the points, (n, ...) to (frequencies, ...)."""
        if isinstance(self.design, DigitalNet):
            return fwht(y, axis=0, norm="ortho")
        if self.design.extensible:
            return reversed_fft.rfft(y)
        return scipy.fft.rfft(y, axis=0, norm="ortho", workers=available())

    def inverse(self, spectrum: np.ndarray) -> np.ndarray:
        """Back from `transform`."""
        if isinstance(self.design, DigitalNet):
            return fwht(spectrum, axis=0, norm="ortho")
        n = self.design.n
        if self.design.extensible:
            return reversed_fft.irfft(spectrum, n)
        return scipy.fft.irfft(spectrum, n, axis=0, norm="ortho", workers=available())

    def __matmul__(self, y: Any) -> np.ndarray:
        """`(K + ξ) y` for y (n,) or (n, columns)."""
        return self._through(self._values(y, "@"), self.noisy)

    def solve(self, y: Any) -> np.ndarray:
        """`(K + ξ)⁻¹ y` for y (n,) or (n, columns); RefusedError where the matrix is singular to rounding.

        Error: relative to the solution's norm at most about `floor` / the smallest eigenvalue.
        """
        return self._through(self._values(y, "solve"), 1 / self.invertible("solve"))

    def logdet(self) -> float:
        """`log det (K + ξ)`; RefusedError where the matrix is singular to rounding."""
        return float(self.multiplicity @ np.log(self.invertible("logdet")))

    def sqrt_sample(self, rng: Any = None, size: int | None = None) -> np.ndarray:
        """Normal vectors of mean 0 and covariance K + ξ: the symmetric square root times white noise.

        Args:
            rng: a NumPy generator or seed. Default None: fresh.   size: how many columns; None for one vector. Default None.

        Returns:
            (n,) or (n, size).
        """
        white = np.random.default_rng(rng).standard_normal(self.design.n if size is None else (self.design.n, size))
        return self._through(white, np.sqrt(np.maximum(self.noisy, 0.0)))

    def double(self) -> "Gram":
        """The operator of twice the points, of which these are the first half: only the new points meet the kernel.

        Formula: with λ the eigenvalues and μ the transform of the new half of the first column, `[λ + ω∘μ, λ − ω∘μ]`; ω = 1
        for nets and e^(−iπk/n) for lattices.
        """
        n, larger = self.design.n, self.design.double()
        column = self.kernel.minus_one(larger.differences(n))
        if isinstance(self.design, DigitalNet):
            mu = fwht(column)
            spectrum = np.concatenate((self._spectrum + mu, self._spectrum - mu))
        else:
            # The new points are the odd ones of the larger lattice, in the old order among themselves.
            odd = reversed_fft.rfft(column) * np.sqrt(n)
            turned = (odd * np.exp(-1j * np.pi * np.arange(len(odd)) / n)).real
            plus, minus = self._spectrum + turned, self._spectrum - turned
            # Frequencies beyond n/2 are mirror images; that of n/2 itself, where both agree, comes once.
            spectrum = np.concatenate((plus, minus[::-1][1:] if n > 1 else minus))
        return Gram(larger, self.kernel, self.noise, spectrum)

    def dense(self) -> np.ndarray:
        """The matrix itself, (n, n), by kernel values; at most 2^14 points."""
        if self.design.n > DENSE:
            raise ArgumentError.of(
                "dense", f"at most {DENSE} points", f"{self.design.n}", "the operator does without the matrix"
            )
        points = self.design.points
        return self.kernel(points, points) + self.noise * np.eye(self.design.n)

    def invertible(self, who: str) -> np.ndarray:
        """`noisy`, RefusedError unless all are above rounding."""
        values = self.noisy
        if not values.min() > self.floor:
            raise RefusedError.of(
                who,
                f"eigenvalues above their rounding error of {self.floor:.1e}",
                f"a smallest one of {values.min():.1e}",
                f"pass noise of at least {2 * self.floor - min(0.0, values.min()):.1e}, or take a smaller alpha",
            )
        return values

    def _through(self, y: np.ndarray, factors: np.ndarray) -> np.ndarray:
        return self.inverse(self.transform(y) * factors.reshape(-1, *[1] * (y.ndim - 1)))

    def _values(self, y: Any, who: str) -> np.ndarray:
        y = np.asarray(y, float)
        if y.ndim not in (1, 2) or len(y) != self.design.n:
            raise ArgumentError.of(who, f"{self.design.n} rows of values", f"{y.shape}", "one for each point")
        return y

    def __repr__(self) -> str:
        kind = "circulant by FFT" if self.design.group == "cyclic" else "XOR-circulant by Walsh–Hadamard"
        n = self.design.n
        return f"<Gram {n} × {n}, {kind}, noise {self.noise:g}: about {2 * n * (n.bit_length() - 1)} steps a product>"


def operator(design: Lattice | DigitalNet, kernel: ProductKernel, noise: float = 0.0) -> Gram:
    """The Gram matrix of a kernel between the points of a lattice or a digital net, as an operator that costs n log n.

    Formula: the matrix of `K(x_i, x_k) + ξ·[i = k]` is diagonal after an orthonormal transform F: `F⁻¹ diag(λ + ξ) F`, F being
        the discrete Fourier transform for lattices and the Walsh–Hadamard transform for nets, and λ = √n · F(first column).

    Args:
        design: from `lattice` or `digital_net`.   kernel: from `shift_invariant` or `digital_shift_invariant`, in this order.
        noise: ξ ≥ 0, added to the diagonal. Default 0.

    Returns:
        A `Gram`: `@`, `solve(y)`, `logdet()`, `sqrt_sample(rng)`, `first_column`, `eigenvalues`, `double()`, `dense()`.

    Raises:
        ArgumentError: a kernel of another group or number of dimensions.   RefusedError: from `solve` and `logdet`, where the
            matrix is singular to rounding; the message says how much noise helps.

    Error: products at most a few roundings times log₂ n of the largest eigenvalue; `solve` times the condition number.
    Cost: n·dim for the first column, two transforms for each product or solution; memory n.
    Source: Sorokin, QMCPy: randomized low-discrepancy sequences, quasi-Monte Carlo and fast kernel methods (2025).

    Example:
        >>> from faltung.gram.lattices import lattice
        >>> from faltung.gram.kernels import shift_invariant
        >>> gram = operator(lattice(1 << 10, 2), shift_invariant(2, dim=2), noise=0.1)
        >>> y = np.arange(1 << 10) / (1 << 10)
        >>> bool(np.allclose(gram @ gram.solve(y), y))
        True
    """
    kernel = fits(design, kernel, noise)
    return Gram(design, kernel, float(noise), spectrum_of(design, kernel.minus_one(design.differences())))


def fits(design: Lattice | DigitalNet, kernel: ProductKernel, noise: float) -> ProductKernel:
    """The kernel in the design's dimensions; ArgumentError unless the three belong together."""
    if not isinstance(design, Lattice | DigitalNet):
        raise ArgumentError.of(
            "operator",
            "a design from lattice or digital_net",
            type(design).__name__,
            "give points made elsewhere as points=",
        )
    if not isinstance(kernel, ProductKernel) or kernel.group != design.group:
        came = kernel.group if isinstance(kernel, ProductKernel) else type(kernel).__name__
        raise ArgumentError.of(
            "operator", f"a kernel that fits: {_GROUPS[design.group]}", f"{came}", "only these share a transform"
        )
    kernel = kernel.of_dim(design.dim)
    if kernel.dim != design.dim:
        raise ArgumentError.of("operator", f"a kernel of {design.dim} dimensions", f"{kernel.dim}", "make it with dim=")
    if not (np.isfinite(noise) and noise >= 0):
        raise ArgumentError.of("noise", "a number of at least 0", f"{noise}", "it is added to the diagonal")
    return kernel


def spectrum_of(design: Lattice | DigitalNet, column: np.ndarray) -> np.ndarray:
    """Eigenvalues of the matrix with that first column."""
    if isinstance(design, DigitalNet):
        return fwht(column)
    whole = (
        reversed_fft.rfft(column) if design.extensible else scipy.fft.rfft(column, norm="ortho", workers=available())
    )
    return np.sqrt(design.n) * whole.real
