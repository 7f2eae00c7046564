"""The symbol of a convolution: its matrix of gains, outputs by inputs, at every frequency.

Spectra, certificates, orthogonality, aliasing and equalisers are all statements about it. Kernels are laid out as torch lays out
those of a convolution layer, and are NumPy arrays or torch tensors; of tensors everything here is differentiable.
"""

import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from faltung.arrays import as_array, is_torch
from faltung.errors import ArgumentError
from faltung.filters.filter import count, whole


@dataclass(frozen=True, eq=False)
class Symbol:
    """The symbol F(ω) = Σ_t K[t] · exp(−i⟨ω, t·dilation⟩) of the convolution that a layer with this kernel computes.

    A layer correlates: `y[p] = Σ_t K[t] x[p·stride + t·dilation]`. Its gain at the frequency ω is therefore F(−ω), which for a real
    kernel is the conjugate of F(ω): singular values are the same. Groups see each other's channels not at all, so F(ω) is a
    block for each group. With a stride, the frequencies that the stride folds onto each other are answered for together:
    `blocks` are then those of the polyphase kernel, whose inputs are the channels at every residue of a place.

    Shapes:
        weight (out, in / groups, *k) with D spatial axes; for `transposed` (in, out / groups, *k), the layout of torch's transposed
        layers, which is that of the convolution whose adjoint the layer is: the symbol is of that convolution.
    Args:
        weight: array or tensor, real or complex.
        stride, dilation: whole numbers of at least 1, one for all spatial axes or one for each. Default 1.
        groups: how many parts the channels fall into. Default 1.   transposed: whether the layer is an adjoint. Default False.
    Raises:
        ArgumentError: a weight with fewer than three axes, or settings that do not fit it.
    Error: computed in float64, whatever the weight's dtype: relative to the sum of the taps' sizes about 1e-15 · log2(n).
    Source: the convolution theorem; with a stride, Vaidyanathan's polyphase decomposition.

    Example:
        >>> sobel = np.outer([1, 2, 1], [1, 0, -1])[None, None]
        >>> float(Symbol(sobel).singular_values((8, 8)).max().round(9))
        8.0
    """

    weight: Any
    stride: Any = 1
    dilation: Any = 1
    groups: int = 1
    transposed: bool = False

    def __post_init__(self) -> None:
        weight = as_array(self.weight, "Symbol")
        if weight.ndim < 3 or 0 in weight.shape:
            raise ArgumentError.of(
                "Symbol", "a kernel (out, in / groups, *k) with at least one spatial axis and no empty axis",
                f"shape {tuple(weight.shape)}", "add the axes of the channels",
            )  # fmt: skip
        object.__setattr__(self, "weight", weight)
        for name in ("stride", "dilation"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), weight.ndim - 2))
        object.__setattr__(self, "groups", whole("Symbol", "groups", self.groups, 1))
        if weight.shape[0] % self.groups:
            raise ArgumentError.of(
                "Symbol", f"a first axis that {self.groups} groups divide", f"{weight.shape[0]}", "choose another number"
            )  # fmt: skip

    @classmethod
    def of(cls, layer: Any) -> Self:
        """The symbol of a convolution layer of torch or of this library, transposed ones included.

        Raises:
            ArgumentError: something without the settings of a convolution; a layer of this library that is not one convolution or
                its transpose, up to constants (it enlarges, moves its taps), or whose kernel depends on the input's length.
        """
        said, transposed = getattr(layer, "claims", None), bool(getattr(layer, "transposed", False))
        constants = hasattr(layer, "position_bias")  # which differ from place to place
        if not (said is None or "shift-invariant" in said or transposed or constants):
            raise ArgumentError.of(
                "Symbol.of", "a layer that is one convolution, or its transpose", type(layer).__name__,
                "pass the kernel of its convolution: Symbol(weight, ...)",
            )  # fmt: skip
        made = getattr(layer, "effective_kernel", None)
        weight = made() if callable(made) else getattr(layer, "weight", None)
        if weight is None or not hasattr(layer, "dilation") or not hasattr(layer, "groups"):
            raise ArgumentError.of(
                "Symbol.of", "a convolution layer", type(layer).__name__, "pass the kernel itself: Symbol(weight, ...)"
            )
        return cls(weight, layer.stride, layer.dilation, layer.groups, transposed)

    @property
    def ndim(self) -> int:
        """The number of spatial axes, D."""
        return self.weight.ndim - 2

    @property
    def size(self) -> tuple[int, ...]:
        """The number of taps along each spatial axis."""
        return tuple(self.weight.shape[2:])

    @property
    def channels(self) -> tuple[int, int]:
        """The outputs and inputs of one group."""
        return self.weight.shape[0] // self.groups, self.weight.shape[1]

    @property
    def is_real(self) -> bool:
        """Whether the taps are real, so that F(−ω) is the conjugate of F(ω)."""
        return not (self.weight.is_complex() if is_torch(self.weight) else self.weight.dtype.kind == "c")

    def taps(self) -> Any:
        """The kernel by groups (groups, out / groups, in / groups, *k), in float64 or complex128."""
        if is_torch(self.weight):
            torch = sys.modules["torch"]
            weight = self.weight.to(torch.float64 if self.is_real else torch.complex128)
        else:
            weight = self.weight.astype(np.float64 if self.is_real else np.complex128)
        return weight.reshape(self.groups, *self.channels, *self.size)

    def at(self, omega: Any) -> Any:
        """F at any frequencies, the stride left aside.

        Shapes: omega (..., D) in radians for each sample of the input; or a number, for that frequency along all axes.
            Returns (groups, ..., out / groups, in / groups), complex.
        """
        taps = self.taps()
        omega = np.asarray(omega, dtype=np.float64)
        omega = np.full(self.ndim, omega) if omega.ndim == 0 else omega
        if omega.shape[-1] != self.ndim:
            raise ArgumentError.of(
                "Symbol.at", f"omega (..., {self.ndim})", f"shape {omega.shape}", "give one number an axis"
            )
        places = np.indices(self.size).reshape(self.ndim, -1) * np.array(self.dilation)[:, None]
        waves = np.exp(-1j * (omega.reshape(-1, self.ndim) @ places))  # (frequencies, taps)
        flat = taps.reshape(*taps.shape[:3], -1)
        if is_torch(flat):
            torch = sys.modules["torch"]
            found = torch.einsum("goit,wt->gwoi", flat.to(torch.complex128), torch.as_tensor(waves, device=flat.device))
        else:
            found = np.einsum("goit,wt->gwoi", flat, waves)
        return found.reshape(self.groups, *omega.shape[:-1], *self.channels)

    def dc(self) -> Any:
        """F(0) of each group, (groups, out / groups, in / groups): what constants are multiplied by."""
        return self.at(0.0)

    def nyquist(self) -> Any:
        """F(π, ..., π) of each group: what the fastest checkerboard is multiplied by."""
        return self.at(math.pi)

    def sample(self, n: Any, half: bool = False) -> Any:
        """F on the grid ω = 2πj / n, the stride left aside.

        Shapes: n, one number or one for each axis; may be smaller than the kernel. Returns (groups, *n, out / groups, in / groups).

        Args:
            half: only j ≤ n / 2 along the last axis, which for a real kernel says all. Default False.

        Cost: one Fourier transform of size n for each pair of channels.
        """
        n = _numbers("n", n, self.ndim)
        taps = self.taps()
        for axis, size in enumerate(n, 3):
            taps = _folded(taps, axis, size)
        axes = tuple(range(3, 3 + self.ndim))
        if half and not self.is_real:
            raise ArgumentError.of("Symbol.sample", "a real kernel for half=True", "a complex one", "take half=False")
        if is_torch(taps):
            fft = sys.modules["torch"].fft
            grid = fft.rfftn(taps, dim=axes) if half and self.dilation[-1] == 1 else fft.fftn(taps, dim=axes)
        else:
            grid = np.fft.rfftn(taps, axes=axes) if half and self.dilation[-1] == 1 else np.fft.fftn(taps, axes=axes)
        for axis, (size, step) in enumerate(zip(n, self.dilation, strict=True), 3):
            if step > 1:  # the gain of a dilated kernel at ω is that of the kernel at ω·dilation
                grid = grid[(slice(None),) * axis + (np.arange(size) * step % size,)]
        if half:
            grid = grid[..., : n[-1] // 2 + 1]
        order = (0, *axes, 1, 2)
        return grid.permute(order) if is_torch(grid) else grid.transpose(order)

    def polyphase(self) -> "Symbol":
        """The same operator without a stride: its inputs are the channels at every residue of a place modulo the stride.

        Returns:
            A symbol with kernel (out, in / groups · ∏stride, *⌈reach / stride⌉), stride and dilation 1; self where it has none.
        """
        if all(s == 1 for s in self.stride):
            return self
        taps = self.taps()
        for axis, step in enumerate(self.dilation, 3):
            taps = _spread(taps, axis, step)
        parts = []
        for residue in itertools.product(*(range(s) for s in self.stride)):
            part = taps
            for axis, (r, s) in enumerate(zip(residue, self.stride, strict=True), 3):
                part = _resized(part[(slice(None),) * axis + (slice(r, None, s),)], axis, -(-taps.shape[axis] // s))
            parts.append(part)
        stack = sys.modules["torch"].stack if is_torch(taps) else np.stack
        joined = stack(parts, 3)  # (groups, out, in, residues, *taps)
        kernel = joined.reshape(joined.shape[0] * joined.shape[1], -1, *joined.shape[4:])
        return Symbol(kernel, groups=self.groups, transposed=self.transposed)

    def reduced(self) -> "Symbol":
        """The operator with the smallest stride and dilation that has the same norms, taken over all sizes of the input.

        Along an axis, a factor common to both moves nothing but the grid, and what is left of the dilation only permutes
        frequencies; so stride / gcd(stride, dilation) and dilation 1 have the same largest and smallest gain.
        """
        pairs = zip(self.stride, self.dilation, strict=True)
        return replace(self, stride=tuple(s // math.gcd(s, d) for s, d in pairs), dilation=1)

    def blocks(self, n: Any, half: bool = False) -> Any:
        """The matrices of the operator with circular boundary whose result has size n: all its singular values are theirs.

        Shapes: n as for `sample`, of the result; the input is n·stride. Returns (groups, *n, out / groups, in / groups · ∏stride).
        """
        return self.polyphase().sample(n, half)

    def singular_values(self, n: Any, half: bool = False) -> Any:
        """The singular values of `blocks(n)`, largest first, (groups, *n, min(out / groups, in / groups · ∏stride)), real."""
        blocks = self.blocks(n, half)
        if is_torch(blocks):
            return sys.modules["torch"].linalg.svdvals(blocks)
        return np.linalg.svd(blocks, compute_uv=False)

    def norm(self, n: Any) -> Any:
        """The norm of the operator with circular boundary whose result has size n: the largest of its singular values."""
        return self.singular_values(n, half=self.is_real)[..., 0].max()

    def gram(self, side: str = "out") -> "Symbol":
        """The kernel of the operator times its adjoint, K Kᵀ: every pair of filters at every shift, summed tap by tap.

        Formula: `Z[a, b, τ] = Σ_{c, q} P[a, c, q + τ] · conj P[b, c, q]`, P the polyphase kernel, |τ| < k; no rounding
        but that of the sums. Its symbol, times exp(i⟨ω, (k − 1)·dilation⟩), is F F* for `out`, the conjugate of F* F for `in`.

        Args:
            side: `out` for K Kᵀ; `in` for Kᵀ K, sums over the outputs in place of the inputs. Default `out`.
        """
        if side not in ("out", "in"):
            raise ArgumentError.of("Symbol.gram", "side 'out' or 'in'", repr(side), "choose one of these")
        phases = self.polyphase()
        taps = phases.taps()
        if side == "in":
            taps = taps.swapaxes(1, 2)
        size = taps.shape[3:]
        einsum = sys.modules["torch"].einsum if is_torch(taps) else np.einsum
        other = taps.conj()
        found = []
        for shift in itertools.product(*(range(1 - k, k) for k in size)):
            ahead = tuple(slice(max(s, 0), k + min(s, 0)) for s, k in zip(shift, size, strict=True))
            behind = tuple(slice(max(-s, 0), k + min(-s, 0)) for s, k in zip(shift, size, strict=True))
            left, right = taps[(..., *ahead)], other[(..., *behind)]
            shape = (*taps.shape[:3], -1)
            found.append(einsum("gact,gbct->gab", left.reshape(shape), right.reshape(shape)))
        stack = sys.modules["torch"].stack if is_torch(taps) else np.stack
        kernel = stack(found, -1).reshape(-1, taps.shape[1], *(2 * k - 1 for k in size))
        return Symbol(kernel, dilation=phases.dilation, groups=self.groups)


def _numbers(name: str, given: Any, ndim: int) -> tuple[int, ...]:
    """One whole number for each axis."""
    entries: Sequence[Any] = given if isinstance(given, (tuple, list, np.ndarray)) else (given,) * count("Symbol", ndim)
    if len(entries) != ndim:
        raise ArgumentError.of("Symbol", f"{name} with {ndim} numbers, or one", repr(given), "give one for each axis")
    return tuple(whole("Symbol", name, entry, 1) for entry in entries)


def _resized(taps: Any, axis: int, size: int) -> Any:
    """With zeros behind, up to that size."""
    missing = size - taps.shape[axis]
    if missing <= 0:
        return taps
    shape = (*taps.shape[:axis], missing, *taps.shape[axis + 1 :])
    if is_torch(taps):
        return sys.modules["torch"].cat([taps, taps.new_zeros(shape)], axis)
    return np.concatenate([taps, np.zeros(shape, taps.dtype)], axis)


def _folded(taps: Any, axis: int, size: int) -> Any:
    """Wrapped around a circle of that size: what falls on the same place is added."""
    laps = -(-taps.shape[axis] // size)
    whole_laps = _resized(taps, axis, laps * size)
    if laps == 1:
        return whole_laps
    return whole_laps.reshape(*taps.shape[:axis], laps, size, *taps.shape[axis + 1 :]).sum(axis)


def _spread(taps: Any, axis: int, step: int) -> Any:
    """With step − 1 zeros between taps."""
    if step == 1:
        return taps
    shape = taps.shape
    apart = _resized(taps.reshape(*shape[: axis + 1], 1, *shape[axis + 1 :]), axis + 1, step)
    long = apart.reshape(*shape[:axis], shape[axis] * step, *shape[axis + 1 :])
    return long[(slice(None),) * axis + (slice(0, (shape[axis] - 1) * step + 1),)]
