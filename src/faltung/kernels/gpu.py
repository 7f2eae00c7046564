"""What kernels for graphics processors share: whether they can run, their tile sizes by device, and their start.

Tile sizes change nothing but speed. They come from a table: one line a kernel and dtype, by device name in the file that
`faltung tune` writes where it finds a device, by compute capability in `DEFAULTS` otherwise. No call measures anything.

With Triton's own switch `TRITON_INTERPRET=1` set before Python starts, kernels run in its interpreter on tensors in the processor's
memory: slowly, and for tests only.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from faltung.kernels.native import cache_folder
from faltung.version import __version__

DEFAULTS: dict[str, dict[str, int]] = {
    # length: the largest transform in one kernel. A row in flight takes some 24 bytes a value of the 256 KiB of registers.
    "monarch": {"order": 2, "warps": 8, "length": 2048},
    "monarch.256": {"warps": 2},
    "monarch.512": {"warps": 4},
    "monarch.1024": {"warps": 4},
    "monarch.float32.1024": {"warps": 8},
    "summed": {"order": 2, "warps": 8, "length": 2048},
    "summed.float32": {"length": 1024},
    "summed.256": {"warps": 4},
    "outer": {"rows": 64, "columns": 64, "depth": 32, "warps": 4},
    "bands": {"rows": 64, "columns": 32, "warps": 4},
    "bands.float32": {"rows": 32},
    "windows": {"block": 256, "warps": 4},
    "gather": {"rows": 16, "channels": 64, "warps": 4},
}
"""Tiles by kernel: `kernel.dtype.size` goes before `kernel.size`, that before `kernel.dtype`, and that before `kernel`."""

_HOPPER: dict[str, dict[str, int]] = {
    "monarch": {"length": 8192},
    "monarch.8192": {"order": 3},
    "monarch.float32": {"length": 4096},
    "monarch.float32.4096": {"order": 3},
    "summed": {"length": 4096},
    "summed.4096": {"order": 3},
}
CAPABLE: dict[int, dict[str, dict[str, int]]] = {80: {}, 90: _HOPPER, 100: _HOPPER, 120: {}}
"""What differs from `DEFAULTS` by compute capability, times ten; others take the nearest below."""


def interpreted() -> bool:
    """Whether Triton was told to run its kernels in its interpreter."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")


def refuses(device: str) -> str | None:
    """Why Triton's kernels do not run on a torch device, as a sentence; None where they do."""
    if not (device.startswith("cuda") or (device == "cpu" and interpreted())):
        return f"runs on CUDA devices, the arrays are on {device}"
    if find_spec("triton") is None:
        return "needs triton, which is not installed; run: pip install 'faltung[gpu]'"
    return None


def stored(dtype: Any) -> Any:
    """The torch dtype in which kernels write results of a dtype: that itself, but Triton's interpreter cannot round to bfloat16."""
    import torch

    return torch.float32 if dtype == torch.bfloat16 and interpreted() else dtype


def tiles_path() -> Path:
    """The file of measured tile sizes."""
    return cache_folder() / "tiles.json"


@lru_cache(maxsize=1)
def _measured() -> dict[str, dict[str, dict[str, int]]]:
    """The file's tables by device; nothing where there is none, or where another version wrote it."""
    try:
        found = json.loads(tiles_path().read_text())
        devices = found["devices"] if found["faltung"] == __version__ else {}
        return {
            str(device): {str(k): {str(n): int(v) for n, v in sizes.items()} for k, sizes in table.items()}
            for device, table in devices.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def record(device: str, table: dict[str, dict[str, int]]) -> Path:
    """Write a device's measured table into the file, beside those of other devices."""
    path = tiles_path()
    devices = {**_measured(), device: {**_measured().get(device, {}), **table}}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"faltung": __version__, "devices": devices}, indent=1, sort_keys=True))
    temporary.replace(path)
    _measured.cache_clear()
    tiles.cache_clear()
    return path


@lru_cache(maxsize=1024)
def tiles(kernel: str, dtype: str, size: int, name: str, capability: int) -> dict[str, int]:
    """Tile sizes for a kernel, dtype and size on a device of that name and compute capability (times ten).

    Each number is looked up by itself: first in the device's measured table, then in that of its capability, then in `DEFAULTS`.
    """
    below = max((c for c in CAPABLE if c <= capability), default=80)
    found: dict[str, int] = {}
    keys = (f"{kernel}.{dtype}.{size}", f"{kernel}.{size}", f"{kernel}.{dtype}", kernel)
    for key in keys:
        for table in (_measured().get(name, {}), CAPABLE[below], DEFAULTS):
            found = {**table.get(key, {}), **found}
    return found


@lru_cache(maxsize=64)
def device_of(device: str) -> tuple[str, int]:
    """Name and compute capability (times ten) of a torch device; without one, those that plans are made for."""
    if device.startswith("cuda") and find_spec("torch") is not None:
        import torch

        if (torch.device(device).index or 0) < torch.cuda.device_count():
            major, minor = torch.cuda.get_device_capability(device)
            return torch.cuda.get_device_name(device), 10 * major + minor
    return "none", 80


_forced: ContextVar[tuple[str, dict[str, int]] | None] = ContextVar("tiles", default=None)


@contextmanager
def forced(kernel: str, sizes: dict[str, int]) -> Iterator[None]:
    """Meanwhile, in this thread, a kernel has these tile sizes whatever the tables say: for measuring them."""
    token = _forced.set((kernel, sizes))
    try:
        yield
    finally:
        _forced.reset(token)


def tiles_on(kernel: str, dtype: Any, size: int, device: Any) -> dict[str, int]:
    """`tiles` for a torch device; dtypes as torch or NumPy spells them."""
    if (given := _forced.get()) is not None and given[0] == kernel:
        table = tiles(kernel, str(dtype).removeprefix("torch."), size, *device_of(str(device)))
        return {**table, **given[1]}
    return tiles(kernel, str(dtype).removeprefix("torch."), size, *device_of(str(device)))


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, warps: int, stages: int = 2, **constants: Any) -> None:
    """Start a kernel on the device of its first argument; a grid without programs starts nothing."""
    if 0 in grid:
        return
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    first = arguments[0]
    if first.is_cuda:
        import torch

        with torch.cuda.device(first.device):
            kernel[grid](*arguments, **constants, **options)
    else:
        kernel[grid](*arguments, **constants, **options)
