"""Long causal convolutions with gates, partial filters and sparse spectra, as sequence models use them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from faltung import arrays, monarch
from faltung.door import convolve
from faltung.engine import gated_ring
from faltung.errors import ArgumentError, DtypeError
from faltung.planner import Policy

PATTERN = gated_ring.PATTERN


def fft_conv(
    x: Any,
    k: Any,
    in_gate: Any = None,
    out_gate: Any = None,
    *,
    causal: bool = True,
    size: int | None = None,
    partial: int | None = None,
    spectrum_mask: Any = None,
    factors: Sequence[int] | None = None,
    policy: Policy | None = None,
) -> Any:
    """A filter for each channel, as long as the signal or not, between two gates, by whatever method the planner chooses.

    Formula: `y = ((x · in_gate) ∗ k) · out_gate`, cut to the length of x.

    Shapes: x, gates and the result (..., channels, n), k (channels, taps).

    Args:
        x, k: NumPy arrays or torch tensors (then differentiable; the gated signal is computed again for the gradients instead
            of being kept).
        in_gate, out_gate: multiplied before and after. Default: none.
        causal: y[p] needs x[0..p]. False centres the filter (mode `same`). Default True.
        size: a circular convolution of that length, at least n and taps. Default: linear, nothing comes around.
        partial: keep the first taps only; what the others would have cost is not paid. Default: all.
        spectrum_mask: (size,) booleans in the order of numpy.fft, which frequencies of the filter are kept: a circular convolution
            of its length, by `faltung.monarch.sparse_conv`, which leaves out what the missing digits would cost. For float16,
            bfloat16, float32, float64, complex64 and complex128; halves are computed in single precision.
        factors: of the length of the mask. Default: two, as equal as can be.
        policy: limits; `Policy(only="monarch")` forces a method. Default none.

    Returns:
        An array of x's kind, dtype and shape.

    Raises:
        ArgumentError: shapes, sizes, masks or gates that do not fit.
        DtypeError: integers or booleans with a spectrum_mask.

    Error: as `faltung.convolve`; with a mask that of `faltung.monarch.dft`, and of halves one rounding of the result.
    Cost: as `faltung.convolve`; gates take a pass each over a piece that fits the cache.
    Source: Fu, Kumbong, Nguyen, Ré, FlashFFTConv: efficient convolutions for long sequences with tensor cores (2024).

    Example:
        >>> fft_conv(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 0.5]]), out_gate=np.array([[1.0, 0.0, 1.0]]))
        array([[1., 0., 4.]])
    """
    x, k = arrays.as_array(x, "fft_conv"), arrays.as_array(k, "fft_conv")
    gates = {
        name: None if g is None else arrays.as_array(g, "fft_conv")
        for name, g in (("in_gate", in_gate), ("out_gate", out_gate))
    }
    if x.ndim < 2 or k.ndim != 2 or k.shape[0] != x.shape[-2]:
        raise ArgumentError.of(
            "fft_conv",
            "x (..., channels, n) and k (channels, taps)",
            f"{tuple(x.shape)} and {tuple(k.shape)}",
            "match them",
        )
    for name, gate in gates.items():
        if gate is not None and tuple(gate.shape) != tuple(x.shape):
            raise ArgumentError.of(
                "fft_conv", f"{name} of shape {tuple(x.shape)}", f"{tuple(gate.shape)}", "broadcast it"
            )
    if partial is not None:
        if not 1 <= partial <= k.shape[1]:
            raise ArgumentError.of("fft_conv", f"partial from 1 to {k.shape[1]}", repr(partial), "leave it out")
        k = k[:, :partial]
    n, taps = x.shape[-1], k.shape[1]
    if spectrum_mask is not None:
        mask = np.asarray(spectrum_mask, bool)
        if mask.ndim != 1 or (size is not None and size != len(mask)):
            raise ArgumentError.of(
                "fft_conv", f"spectrum_mask of shape ({size or 'size'},)", f"{mask.shape}", "make it so"
            )
        size = len(mask)
    if size is not None and (size < max(n, taps) or not causal):
        raise ArgumentError.of(
            "fft_conv", f"size of at least {max(n, taps)}, and causal", f"{size}, causal={causal}", "leave size out"
        )
    how = Way(causal, size if size is not None and (spectrum_mask is not None or size < n + taps - 1) else None, policy)
    if spectrum_mask is not None:
        how.mask, how.factors = mask, tuple(factors) if factors is not None else monarch.factors_of(len(mask))
        for given in (x, k, *gates.values()):
            if given is not None and (name := arrays.dtype_name(given)) not in monarch.MASKED:
                raise DtypeError.of(
                    "fft_conv with spectrum_mask", f"values of {', '.join(monarch.MASKED)}", name, "convert them first"
                )
    if arrays.is_torch(x):
        from faltung.engine.gated_torch import gated

        return gated(x, k, gates["in_gate"], gates["out_gate"], how)
    flat = x.reshape(-1, *x.shape[-2:])
    a, b = (None if g is None else g.reshape(flat.shape) for g in gates.values())
    return _gated(flat, k, a, b, how).reshape(x.shape)


class Way:
    """How a signal meets its filter: linear or circular, all frequencies or some."""

    def __init__(self, causal: bool, size: int | None, policy: Policy | None) -> None:
        self.causal, self.size, self.policy = causal, size, policy
        self.mask: np.ndarray | None = None
        self.factors: tuple[int, ...] = ()

    def pads(self, taps: int) -> tuple[tuple[int, int]]:
        """Zeros (or what comes around) before and behind."""
        return ((taps - 1, 0),) if self.causal else ((taps // 2, (taps - 1) // 2),)


def _gated(x: np.ndarray, k: np.ndarray, a: np.ndarray | None, b: np.ndarray | None, way: Way) -> np.ndarray:
    """Groups of channels small enough that gate, convolution and gate find their values in the cache."""
    if way.mask is not None:
        kind = np.result_type(x, k, *(g for g in (a, b) if g is not None))
        wide = monarch.MASKED[str(kind)]
        x, k = x.astype(wide, copy=False), k.astype(wide, copy=False)
        a, b = (None if t is None else t.astype(wide, copy=False) for t in (a, b))
        y = monarch.sparse_conv(x if a is None else x * a, k, way.mask, way.factors)
        return (y if b is None else y * b).astype(kind, copy=False)
    if a is None and b is None:
        return plainly(x, k, way)
    if (on := in_a_ring(x, k, a, b, way)) is not None and (z := gated_ring.forward(on, x, k, a, b)) is not None:
        return z
    y = np.empty(x.shape, np.result_type(x, k, *(g for g in (a, b) if g is not None)))
    for part in groups(x.shape, x.dtype.itemsize):
        z = plainly(x[:, part] if a is None else x[:, part] * a[:, part], k[part], way)
        np.multiply(z, 1 if b is None else b[:, part], out=y[:, part])
    return y


def in_a_ring(x: Any, k: Any, a: Any, b: Any, way: Way) -> Any:
    """What `gated_ring` needs where it serves, arrays or tensors (b, c, n) of one dtype; None elsewhere."""
    if way.size is not None or way.mask is not None or any(g is not None and g.dtype != x.dtype for g in (k, a, b)):
        return None
    taps = k.shape[-1]
    return gated_ring.frame_for(tuple(x.shape), tuple(k.shape), arrays.dtype_name(x), way.pads(taps), way.policy)


def plainly(x: Any, k: Any, way: Way) -> Any:
    """x ∗ k without gates, arrays or tensors (b, c, n)."""
    if way.size is None:
        return convolve(x, k, PATTERN, mode=way.pads(k.shape[-1]), policy=way.policy)
    n, rest = x.shape[-1], way.size - x.shape[-1]
    if rest and arrays.is_torch(x):
        x = arrays.import_torch("fft_conv").nn.functional.pad(x, (0, rest))
    elif rest:
        x = np.pad(x, ((0, 0), (0, 0), (0, rest)))
    y = convolve(x, k, PATTERN, mode=way.pads(k.shape[-1]), boundary="wrap", policy=way.policy)
    return y[..., :n]


def groups(shape: tuple[int, ...], item: int) -> list[slice]:
    """Slices of channels: as many of a batch as make a few megabytes, one at least."""
    from faltung.planner.machine import this_machine

    machine = this_machine()
    many = max(1, 2 * machine.threads * machine.cache // max(1, math.prod(shape) // shape[1] * item))
    return [slice(c, c + many) for c in range(0, shape[1], many)]
