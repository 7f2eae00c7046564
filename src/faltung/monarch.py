"""Fourier transforms as products with small matrices: the transform itself, its order of frequencies, sparse spectra.

`dft` takes arrays of NumPy and tensors of torch, the latter with gradients: with matrices of one's own in place of the Fourier
matrices it is a learned butterfly, which starts as the transform and is trained away from it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from faltung import arrays
from faltung.errors import ArgumentError, DtypeError
from faltung.kernels.monarch import on_numpy
from faltung.kernels.monarch.contract import digits

STORED = ("float16", "bfloat16")
MASKED = {"float16": "float32", "bfloat16": "float32"} | {
    n: n for n in ("float32", "float64", "complex64", "complex128")
}
"""The dtypes that sparse spectra serve, each with the one that it is computed in."""
_COMPLEX = {"float32": "complex64", "float64": "complex128", "complex64": "complex64", "complex128": "complex128"}


def dft(
    x: Any,
    factors: Sequence[int],
    *,
    inverse: bool = False,
    permuted: bool = False,
    matrices: Sequence[Any] | None = None,
    stored: str | None = None,
) -> Any:
    """The discrete Fourier transform of the last axis by products with one small matrix for each factor of its length.

    Formula: `X[k] = Σ_i x[i] exp(−2πi·k·i / N)`, N the product of the factors; the inverse has the other sign and 1/N.
        Each stage multiplies by the N_i-point matrix along one digit of the index, then by twiddle factors.

    Shapes: x (..., N); returns (..., N), complex.

    Args:
        factors: any whole numbers of at least 1 in any order.
        inverse: from spectra to signals. Default False.
        permuted: leave a spectrum in (take it from) the order of the stages, `order(factors)`: no transposition. Default False.
        matrices: one (N_i, N_i) for each factor in place of the Fourier matrices (the inverse takes them conjugated): a learned
            butterfly. Default: the Fourier matrices.
        stored: `float16` or `bfloat16`: round every table and intermediate result to it, real and imaginary parts apart, each
            forward stage divided by its N_i and the inverse not, so that nothing overflows (the spectrum comes out divided by N,
            the inverse takes it so). NumPy only. Default: as precise as x.

    Raises:
        ArgumentError: factors whose product is not the length, matrices of other shapes, an unknown `stored`.
        DtypeError: integers, or `stored` with tensors.

    Error: relative to the largest value that a spectrum can have, at most Σ (√N_i + 2) unit roundoffs times 8; in half precision
        each stage adds a rounding of its storage, together about 1.4 unit roundoffs in the mean square, nearly whatever N is.
    Cost: 4·N·Σ N_i multiply-adds of real numbers, N times the number of factors minus one for the twiddle factors.
    Source: Dao et al., Monarch: expressive structured matrices for efficient and accurate training (2022); Fu, Kumbong, Nguyen, Ré,
        FlashFFTConv (2024); learned: Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023).

    Example:
        >>> x = np.arange(12.0)
        >>> bool(np.allclose(dft(x, (4, 3)), np.fft.fft(x)))
        True
    """
    x = arrays.as_array(x, "monarch.dft")
    factors = _checked(factors, x.shape[-1] if x.ndim else 0)
    name = arrays.dtype_name(x)
    if name not in _COMPLEX or (stored is not None and arrays.is_torch(x)):
        raise DtypeError.of(
            "monarch.dft", "float32, float64 or complex values (NumPy's for stored=)", name, "convert them first"
        )
    if stored is not None and stored not in STORED:
        raise ArgumentError.of("monarch.dft", f"stored among {', '.join(STORED)}", repr(stored), "leave it out")
    x = _complex(x, _COMPLEX[name])
    with_ = on_numpy.tables(factors, _COMPLEX[name], stored is not None and not inverse)
    keep = None
    if stored is not None:
        keep = _rounding(stored)
        with_ = on_numpy.Tables(
            factors, tuple(map(keep, with_.matrices)), tuple(t if t is None else keep(t) for t in with_.twiddles)
        )
        x = keep(x)
    if arrays.is_torch(x):
        with_ = _tensors(with_, x)
    if matrices is not None:
        with_ = on_numpy.Tables(factors, _own(matrices, factors), with_.twiddles)
    if not inverse:
        y = on_numpy.forward(x, with_, keep)
        return y if permuted else _natural(y, factors)
    if not permuted:
        x = x[..., digits(factors)]
    y = on_numpy.backward(x, with_, None, keep)
    return y if stored is not None else y / float(np.prod(factors))


def order(factors: Sequence[int]) -> np.ndarray:
    """The frequency in each place of a permuted spectrum: `dft(x, f, permuted=True) == dft(x, f)[..., order(f)]`.

    Example:
        >>> order((2, 3)).tolist()
        [0, 2, 4, 1, 3, 5]
    """
    return digits(_checked(factors, int(np.prod(factors))))


def factors_of(n: int, order: int = 2) -> tuple[int, ...]:
    """`order` factors of exactly n, as equal as its divisors allow, largest first.

    Example:
        >>> factors_of(8192, 3), factors_of(35), factors_of(13)
        ((32, 16, 16), (7, 5), (13, 1))
    """
    if n < 1 or order < 1:
        raise ArgumentError.of("factors_of", "n and order of at least 1", f"{n} and {order}", "correct them")
    if order == 1:
        return (n,)
    wanted = round(n ** (1.0 / order), 9)
    best = max(d for d in range(1, n + 1) if n % d == 0 and d <= wanted + 1e-6)
    return tuple(sorted((best, *factors_of(n // best, order - 1)), reverse=True))


def sparse_conv(
    x: np.ndarray, k: np.ndarray, mask: np.ndarray, factors: Sequence[int], adjoint: bool = False
) -> np.ndarray:
    """Circular convolution with a filter of which only some frequencies are kept; the others cost no work where digits are missing.

    Formula: `y = F⁻¹(mask · F k · F x)` of the length of the mask, cut to that of x; `adjoint` takes the conjugate of F k.

    Shapes: x (..., C, n), k (C, t) with n, t ≤ N, mask (N,) of booleans in the order of numpy.fft; returns x's shape.

    Args:
        factors: their product is N. A value that no kept frequency has for its digit is left out of that digit's products: the
            work is that of the product of all kept values, not of the kept frequencies alone.

    Returns:
        The common dtype of x and k. float16 is computed in single precision and rounded once.

    Raises:
        ArgumentError: a mask of another length, or one that keeps k but not −k, which would make real results complex.
        DtypeError: integers or booleans.

    Error: as `dft` there and back; of float16 one rounding of the result.
    """
    factors, mask = _checked(factors, len(mask)), np.asarray(mask, bool)
    for values in (x, k):
        if str(values.dtype) not in MASKED:
            raise DtypeError.of(
                "monarch.sparse_conv", f"values of {', '.join(MASKED)}", str(values.dtype), "convert them first"
            )
    kind = np.result_type(x, k)
    x, k = (values.astype(MASKED[str(kind)], copy=False) for values in (x, k))
    N, dtype = len(mask), _COMPLEX[str(x.dtype)]
    real = not np.iscomplexobj(x)
    if real and not np.array_equal(mask, mask[-np.arange(N) % N]):
        raise ArgumentError.of(
            "spectrum_mask",
            "k and −k kept or left out together, for real signals",
            "one without the other",
            "mirror it",
        )
    if not mask.any():
        return np.zeros_like(x, kind)
    keep = kept_digits(mask, factors)
    with_ = on_numpy.sparse(on_numpy.tables(factors, dtype), keep)
    spectrum = np.where(mask, np.fft.fft(k, N).astype(dtype), 0) / N
    taps = on_numpy.permuted(spectrum.conj() if adjoint else spectrum, factors, keep).astype(dtype)
    flat = x.reshape(-1, *x.shape[-2:])
    pairs = real and bool(np.isfinite(flat).all())  # else one sample's NaN would reach its partner
    if pairs:  # two samples that share the filter are one complex signal
        joined = np.zeros((-(-len(flat) // 2), *flat.shape[1:]), dtype)
        joined.real, joined.imag[: len(flat) // 2] = flat[0::2], flat[1::2]
    else:
        joined = flat.astype(dtype, copy=False)
    z = on_numpy.backward(on_numpy.forward(joined, with_) * taps, with_, x.shape[-1])
    if not pairs:
        return (z.real if real else z).reshape(x.shape).astype(kind, copy=False)
    y = np.empty(flat.shape, kind)
    y[0::2], y[1::2] = z.real, z.imag[: len(flat) // 2]
    return y.reshape(x.shape)


def kept_digits(mask: np.ndarray, factors: Sequence[int]) -> tuple[np.ndarray, ...]:
    """For each factor the values of its digit that some kept frequency has."""
    factors = _checked(factors, len(mask))
    places = np.asarray(mask, bool)[digits(factors)].reshape(factors)
    axes = range(len(factors))
    return tuple(np.flatnonzero(places.any(axis=tuple(a for a in axes if a != axis))) for axis in axes)


def _checked(factors: Sequence[int], n: int) -> tuple[int, ...]:
    given = tuple(int(f) for f in factors)
    if not given or min(given) < 1 or int(np.prod(given)) != n:
        raise ArgumentError.of("factors", f"whole numbers whose product is {n}", str(given), "try factors_of(n)")
    return given


def _complex(x: Any, dtype: str) -> Any:
    if arrays.is_torch(x):
        torch = arrays.import_torch("monarch.dft")
        return x.to(getattr(torch, dtype))
    return x.astype(dtype)


def _tensors(with_: on_numpy.Tables, like: Any) -> on_numpy.Tables:
    torch = arrays.import_torch("monarch.dft")

    def tensor(table: Any) -> Any:
        return None if table is None else torch.from_numpy(table).to(like.device)

    return on_numpy.Tables(with_.factors, tuple(map(tensor, with_.matrices)), tuple(map(tensor, with_.twiddles)))


def _own(matrices: Sequence[Any], factors: tuple[int, ...]) -> tuple[Any, ...]:
    shapes = [tuple(m.shape) for m in matrices]
    if shapes != [(f, f) for f in factors]:
        raise ArgumentError.of("matrices", f"shapes {[(f, f) for f in factors]}", f"{shapes}", "one for each factor")
    return tuple(matrices)


def _natural(spectrum: Any, factors: tuple[int, ...]) -> Any:
    """From the order of the digits into that of numpy.fft."""
    back = np.empty(len(places := digits(factors)), np.int64)
    back[places] = np.arange(len(places))
    return spectrum[..., back]


def _rounding(stored: str) -> Any:
    """Rounds real and imaginary parts to half precision, to nearest even; the dtype stays."""

    def rounded(a: np.ndarray) -> np.ndarray:
        a = np.ascontiguousarray(a)
        parts = a.view(a.real.dtype)
        if stored == "float16":
            return parts.astype(np.float16).astype(parts.dtype).view(a.dtype)
        bits = parts.astype(np.float32).view(np.uint32)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        return bits.view(np.float32).astype(parts.dtype).view(a.dtype)

    return rounded
