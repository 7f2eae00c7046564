"""Whose array is this? NumPy arrays and torch tensors, told apart without importing torch.

A tensor can only arrive after its caller imported torch, so `sys.modules` is asked and nothing is loaded to look.
"""

import sys
from numbers import Number
from typing import Any

import numpy as np

from faltung.errors import DtypeError, MissingExtraError

_KNOWN = frozenset(
    "object bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128".split()
)


def is_torch(array: Any) -> bool:
    """Whether the array is a torch tensor (torch is not imported to find out)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def host_of(array: Any) -> str:
    """`torch` for tensors, `numpy` for everything that NumPy takes."""
    return "torch" if is_torch(array) else "numpy"


def dtype_name(array: Any) -> str:
    """The dtype as both hosts spell it; DtypeError for those no algebra computes with (strings, longdouble ...)."""
    name = str(array.dtype).removeprefix("torch.")
    if name not in _KNOWN:
        raise DtypeError.of(
            "array", f"a dtype among {', '.join(sorted(_KNOWN))}", name, "cast the array first, for example to float64"
        )
    return name


def device_of(array: Any) -> str:
    """`cpu`, or the torch device such as `cuda:0`."""
    return str(array.device) if is_torch(array) else "cpu"


def as_array(given: Any, who: str) -> Any:
    """The array itself, or the NumPy array of a list or number; DtypeError where NumPy finds no numbers in it."""
    if is_torch(given):
        return given
    if "numpy.ma" in sys.modules and isinstance(given, np.ma.MaskedArray):
        raise DtypeError.of(
            who,
            "an array without a mask",
            "a masked array",
            "pass x.filled(value) with the value that masked places should have",
        )
    if isinstance(given, np.ndarray) and (given.dtype != object or _numbers(given)):
        return given if given.dtype.isnative else given.astype(given.dtype.newbyteorder("="))
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise DtypeError.of(
            who,
            "an array of numbers",
            f"{type(given).__name__} ({error})",
            "pass an array or nested lists of equal length",
        ) from None
    if array.dtype.kind not in "biufc" and not _numbers(array):
        raise DtypeError.of(who, "an array of numbers", f"{type(given).__name__} of {array.dtype}", "pass numbers")
    return array


def _numbers(array: np.ndarray) -> bool:
    """Whether an array of objects holds numbers of Python only."""
    return array.dtype == object and all(isinstance(v, Number) for v in array.flat)


def to_numpy(array: Any, dtype: str) -> np.ndarray:
    """A NumPy array of that dtype; shares memory where the dtype already fits."""
    if is_torch(array):
        torch = sys.modules["torch"]
        wanted = getattr(torch, dtype)
        array = array.detach().resolve_conj().resolve_neg()
        return (array if array.dtype == wanted else array.to(wanted)).numpy(force=True)
    return array if array.dtype == dtype else array.astype(dtype)


def to_torch(array: Any, dtype: str) -> Any:
    """A detached tensor of that dtype, for methods that compute with torch; NumPy arrays share their memory."""
    torch = import_torch("a method that computes with torch")
    if isinstance(array, np.ndarray):
        array = torch.from_numpy(np.array(array, copy=None if array.flags.writeable else True, dtype=dtype))
    return array.detach().to(getattr(torch, dtype))


def import_torch(who: str) -> Any:
    """torch, or MissingExtraError with the command that installs it."""
    try:
        import torch
    except ImportError:
        raise MissingExtraError.of(who, "torch", "no installed torch", "run: pip install 'faltung[torch]'") from None
    return torch


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values in their final NumPy dtype; into integers they round half to even and saturate, into reals the real part goes."""
    if values.dtype == dtype:
        return values
    if values.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        values = values.real  # the gradient of a real operand among complex ones
    if np.dtype(dtype).kind in "iu" and values.dtype.kind in "fiu":
        info = np.iinfo(dtype)
        if values.dtype.kind == "f":
            values = np.rint(values)
            # The largest float below 2^63 or 2^64 is used there: the limit itself is not a float.
            top = np.nextafter(
                values.dtype.type(2.0**info.bits if info.min == 0 else 2.0 ** (info.bits - 1)), values.dtype.type(0)
            )
            top = min(top, values.dtype.type(info.max)) if float(info.max) == info.max else top
            return np.nan_to_num(np.clip(values, values.dtype.type(info.min), top), copy=False).astype(dtype)
        low = max(int(info.min), int(np.iinfo(values.dtype).min))
        return np.clip(values, low, min(int(info.max), int(np.iinfo(values.dtype).max))).astype(dtype)
    return values.astype(dtype)


def from_numpy(values: np.ndarray, dtype: str, host: str) -> Any:
    """The result in the caller's kind of array and dtype."""
    if host == "numpy":
        return rounded(values, dtype)
    torch = sys.modules["torch"]
    # torch narrows in vectors and on all threads, where NumPy takes some nanoseconds a value.
    narrowed = dtype == "bfloat16" or (dtype == "float16" and values.dtype == np.float32)
    values = np.ascontiguousarray(values if narrowed else rounded(values, dtype))
    if min(values.strides, default=0) < 0:  # a turned axis of length 1 counts as contiguous, but torch does not take it
        values = values.copy()
    tensor = torch.from_numpy(values)
    return tensor.to(getattr(torch, dtype)) if narrowed else tensor


def from_torch(values: Any, dtype: str, host: str) -> Any:
    """As `from_numpy`, for a tensor."""
    torch = sys.modules["torch"]
    if host == "numpy":
        return rounded(values.numpy(force=True), dtype)
    if dtype != "bfloat16" and np.dtype(dtype).kind in "iu":
        return torch.from_numpy(rounded(values.numpy(force=True), dtype)).to(values.device)
    return values.to(getattr(torch, dtype))
