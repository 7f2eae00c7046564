"""Cases for the Triton kernels against their contracts: every branch at small sizes, for a device or for Triton's interpreter.

`python -m faltung.testing.triton_kernels` runs them in the interpreter when started with TRITON_INTERPRET=1, and prints how many
comparisons each kernel passed, as JSON.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from faltung.kernels.bands import contract as bands
from faltung.kernels.gather import contract as gather
from faltung.kernels.long import contract as monarch
from faltung.kernels.long import layout
from faltung.kernels.windows import contract as windows
from faltung.methods.method import ROUNDOFF
from faltung.testing.kernel_cases import compare

# (n, t, first, m, largest transform in one kernel, factors of it): plain, cut, beyond both ends, three factors, an outer pass.
ROWS: tuple[tuple[int, int, int, int, int, int], ...] = (
    (256, 256, 0, 256, 256, 2), (200, 130, -3, 400, 512, 2), (600, 70, 35, 600, 1024, 2), (4096, 4096, 0, 4096, 4096, 3),
    (4096, 4000, 100, 5000, 256, 2),
)  # fmt: skip
FILTERS = (((70,), (7,), (3,), (70,)), ((300,), (51,), (50,), (350,)), ((20, 33), (7, 5), (3, 0), (20, 29)))
WINDOWS = (
    ((40,), (3,), (1,), (1,), (2,), (2,)),
    ((9, 11), (3, 2), (2, 1), (1, 2), (2, 1), (1, 2)),
    ((3, 4, 4), (2, 1, 2), (1, 1, 2), (1, 2, 1), (0, 1, 1), (1, 1, 0)),
)
# (B, Q, C, R, J)
GATHERED = ((1, 1, 1, 1, 1), (2, 7, 3, 20, 2), (3, 30, 16, 40, 4), (1, 9, 70, 33, 3), (1, 4, 3, 0, 4), (0, 4, 3, 5, 4))
# Unit roundoffs of the products: three of tf32 stand for one of float32.
UNIT = {"float16": ROUNDOFF["float16"], "bfloat16": ROUNDOFF["bfloat16"], "float32": 2.0**-20}


def check_monarch(tool: Any, seed: int = 0, device: str = "cpu", dtypes: tuple[str, ...] = tuple(UNIT)) -> int:
    """Convolutions, gated, turned around, circular; filters' gradients; every dtype.

    Raises:
        AssertionError: with the case and the first value that differs.
    """
    import torch

    cases = 0
    for dtype in dtypes:
        of = getattr(torch, dtype)
        for case in ROWS:
            n, t, first, m, largest, order = case
            random = np.random.default_rng(seed + cases)
            few = n < 4096
            B, N = (2, 3) if few else (1, 2)
            x, k = _given(random, (B, N, n), of, device), _given(random, (B, t), of, device)
            kernel = tool.Monarch(of, layout.length(n, t), torch.device(device), "monarch", largest, order)
            spectrum, single = kernel.spectrum(k), torch.float32
            scale = float(x.abs().max()) * float(k.abs().double().sum(dim=-1).max())
            near = 16 * UNIT[dtype] * scale
            y = kernel.convolve(x, spectrum, first, m, dtype=single)
            wanted = monarch.convolve(_plain(x), _plain(k), first, m)
            compare(_plain(y), wanted, near, f"monarch in {dtype}, {case}")
            cases += 1
            if few:  # both gates in the same pass; rows read and written from their ends
                a, b = _given(random, x.shape, of, device), _given(random, (B, N, m), of, device)
                y = kernel.convolve(x, spectrum, first, m, before=a, after=b, dtype=single)
                wanted = monarch.convolve(_plain(a) * _plain(x), _plain(k), first, m) * _plain(b)
                gates = float(a.abs().max()) * float(b.abs().max())
                compare(_plain(y), wanted, near * gates, f"gated monarch in {dtype}, {case}")
                y = kernel.convolve(x, spectrum, first, m, turn_x=True, turn_y=True, dtype=single)
                wanted = monarch.convolve(_plain(x)[..., ::-1], _plain(k), first, m)[..., ::-1]
                compare(_plain(y), wanted, near, f"turned monarch in {dtype}, {case}")
                cases += 2
        for n, largest in ((256, 256), (512, 512), (4096, 256)):
            random = np.random.default_rng(seed + cases)
            x, k = _given(random, (1, 2, n), of, device), _given(random, (1, 50), of, device)
            kernel = tool.Monarch(of, n, torch.device(device), "monarch", largest)
            y = kernel.convolve(x, kernel.spectrum(k), 7, n, wrapped=True, dtype=torch.float32)
            near = 16 * UNIT[dtype] * float(x.abs().max()) * float(k.abs().double().sum())
            compare(_plain(y), monarch.circular(_plain(x), _plain(k), 7), near, f"circular monarch in {dtype}, {n}")
            cases += 1
        for n, m, first, t, largest in ((300, 250, 100, 200, 512), (4096, 4096, 4095, 4096, 256)):
            random = np.random.default_rng(seed + cases)
            x, y = _given(random, (1, 3, n), of, device), _given(random, (1, 3, m), of, device)
            kernel = tool.Monarch(of, layout.length(n, m), torch.device(device), "summed", largest)
            near = 16 * UNIT[dtype] * float(x.abs().max()) * float(y.abs().double().sum())
            wanted = monarch.filters(_plain(x), _plain(y), first, t)
            compare(_plain(kernel.filters(x, y, first, t)), wanted, near, f"filters in {dtype}, {n}, {m}")
            cases += 1
    return cases


def check_bands(tool: Any, seed: int = 0, device: str = "cpu", dtypes: tuple[str, ...] = tuple(UNIT)) -> int:
    """Results, the same with the filter backwards, and filters' gradients; as `check_monarch`."""
    import torch

    cases = 0
    for dtype in dtypes:
        of = getattr(torch, dtype)
        for case in FILTERS:
            n, t, low, m = case
            random = np.random.default_rng(seed + cases)
            # Batches outside channels, as layers have them: the kernels read by steps.
            x = _given(random, (3, 2, *n), of, device).transpose(0, 1)
            k, y = _given(random, (2, *t), of, device), _given(random, (2, 3, *m), of, device)
            scale = float(x.abs().max()) * float(k.abs().double().sum(dim=tuple(range(1, k.ndim))).max())
            near = (2.0**-20 if dtype == "float32" else 2.0**-21) * scale
            flipped = _plain(k)[(slice(None), *[slice(None, None, -1)] * len(t))]
            for turned, taps in ((False, _plain(k)), (True, flipped)):
                came = tool.correlate(x, k, low, m, of, turned=turned, result=torch.float32)
                compare(_plain(came), bands.correlate(_plain(x), taps, low, m), near, f"bands in {dtype}, {case}")
            scale = float(x.abs().max()) * float(y.abs().double().sum())
            came, wanted = tool.filters(x, y, low, t, of), bands.filters(_plain(x), _plain(y), low, t)
            compare(_plain(came), wanted, 2.0**-20 * scale, f"bands' filters in {dtype}, {case}")
            cases += 3
    return cases


def check_windows(
    tool: Any, seed: int = 0, device: str = "cpu", dtypes: tuple[str, ...] = ("float32", "float64")
) -> int:
    """Results and both gradients along one axis, two and three; as `check_monarch`."""
    import torch

    cases = 0
    for of in ("max", "min", "log"):
        for case in WINDOWS:
            n, t, stride, dilation, low, high = case
            dtype = dtypes[(cases // 3) % len(dtypes)]
            random = np.random.default_rng(seed + cases)
            padded = (size + a + b for size, a, b in zip(n, low, high, strict=True))
            m = tuple((p - (u - 1) * d - 1) // s + 1 for p, u, d, s in zip(padded, t, dilation, stride, strict=True))
            g = windows.Geometry(n, t, m, stride, dilation, low, np.inf if of == "min" else -np.inf)
            x, k, y = (
                _given(random, shape, getattr(torch, dtype), device)
                for shape in ((1, 2, 2, *n), (1, 2, 2, *t), (1, 2, 2, *m))
            )
            unit = 32 * ROUNDOFF[dtype]
            with np.errstate(all="ignore"):  # Triton's interpreter says so where a sum is empty
                came = tool.results(x, k, of, g), *(tool.gradient(x, k, y, of, g, unknown) for unknown in "xk")
            wanted = (
                windows.results(_plain(x), _plain(k), of, g),
                *windows.gradients(_plain(x), _plain(k), _plain(y), of, g),
            )
            scales = 10.0, float(y.abs().max()) * 20, float(y.abs().double().sum())
            for name, a, b, scale in zip(("results", "x", "k"), came, wanted, scales, strict=True):
                compare(_plain(a), b, unit * scale, f"windows, {name} of {of} in {dtype}, {case}")
                cases += 1
    return cases


def check_rows_by_number(
    tool: Any, seed: int = 0, device: str = "cpu", dtypes: tuple[str, ...] = ("float32", "float64")
) -> int:
    """The three maps, and lists of any lengths; as `check_monarch`."""
    import torch

    cases = 0
    for case in GATHERED:
        B, Q, C, R, J = case
        dtype = dtypes[cases % len(dtypes)]
        of, random = getattr(torch, dtype), np.random.default_rng(seed + cases)
        x, w, y = (_given(random, shape, of, device) for shape in ((B, Q, C), (B, R, J), (B, R, C)))
        index = torch.from_numpy(random.integers(-1, Q, (B, R, J))).to(device)
        i = index.cpu().numpy()
        for name, operands, wanted in (
            ("sums", (x, index, w), gather.sums(_plain(x), i, _plain(w))),
            ("rows", (index, w, y), gather.rows(i, _plain(w), _plain(y), Q)),
            ("weights", (x, index, y), gather.weights(_plain(x), i, _plain(y))),
        ):
            came = torch.full(wanted.shape, np.nan, dtype=of, device=device)
            getattr(tool, name)(*operands, came)
            top = max([1.0, *(float(a.abs().max()) for a in (x, w, y) if a.numel())]) ** 2
            compare(_plain(came), wanted, 8 * ROUNDOFF[dtype] * max(C, R * J) * top, f"{name} in {dtype}, {case}")
            cases += 1
    random = np.random.default_rng(seed)
    x, w = _given(random, (5, 3), torch.float64, device), _given(random, (6,), torch.float64, device)
    start, source = (torch.tensor(v, device=device) for v in ([0, 2, 2, 5, 6], [4, 0, 1, 1, 3, 2]))
    number = torch.tensor([5, 4, 3, 2, 1, 0], device=device)
    came = torch.full((4, 3), np.nan, dtype=torch.float64, device=device)
    tool.listed(x, start, source, number, w, came)
    wanted = np.zeros((4, 3))
    for p, (first, last) in enumerate(((0, 2), (2, 2), (2, 5), (5, 6))):
        for e in range(first, last):
            wanted[p] += _plain(w)[5 - e] * _plain(x)[int(source[e])]
    compare(_plain(came), wanted, 1e-14, "lists of any lengths")
    return cases + 1


def _given(random: np.random.Generator, shape: tuple[int, ...], dtype: Any, device: str) -> Any:
    import torch

    return torch.from_numpy(random.standard_normal(shape)).to(dtype).to(device)


def _plain(a: Any) -> np.ndarray:
    return a.detach().double().cpu().numpy()


TRITON_CHECKS: dict[str, Callable[..., int]] = {
    "long": check_monarch,
    "bands": check_bands,
    "windows": check_windows,
    "rows-by-number": check_rows_by_number,
}


def main() -> None:
    """Every Triton kernel's cases; the first difference ends the run with its sentence."""
    from faltung.kernels import ALL

    print(json.dumps({k.name: TRITON_CHECKS[k.name](k.module) for k in ALL if k.tool == "triton"}))


if __name__ == "__main__":
    sys.exit(main())
