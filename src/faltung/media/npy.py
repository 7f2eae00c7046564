"""NumPy's files a few rows at a time, by plain reads and writes: what lies in memory is what was asked for."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import FileError

FORMAT: Any = np.lib.format


class Rows:
    """The rows of a .npy file: `shape`, `dtype` and `rows[a:b]`.

    A memory-mapped file would do, too, but what it has touched counts as this process's memory until the system wants it back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            version = FORMAT.read_magic(file)
            read = {(1, 0): FORMAT.read_array_header_1_0, (2, 0): FORMAT.read_array_header_2_0}.get(version)
            if read is None:
                raise FileError.of(str(path), "an array of NumPy's format 1 or 2", f"{version}", "save it again")
            self.shape, fortran, self.dtype = read(file)
            self._start = file.tell()
        if self.dtype.kind not in "biufc" or not self.shape:
            came = f"{self.dtype} of shape {self.shape}"
            raise FileError.of(str(path), "numbers on at least one axis", came, "save another array")
        if fortran and len(self.shape) > 1:
            raise FileError.of(
                str(path),
                "rows that lie one after the other",
                "columns (Fortran order)",
                "save np.ascontiguousarray(x)",
            )
        self._row = int(np.prod(self.shape[1:], dtype=np.int64))

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, stop, _ = rows.indices(self.shape[0])
        count = (stop - first) * self._row
        with open(self.path, "rb") as file:
            file.seek(self._start + first * self._row * self.dtype.itemsize)
            values = np.fromfile(file, self.dtype, count)
        if values.size < count:
            raise FileError.of(str(self.path), f"{self.shape[0]} whole rows", "a file cut short", "copy it again")
        native = values.astype(self.dtype.newbyteorder("="), copy=False)
        return native.reshape(stop - first, *self.shape[1:])


def write(path: Path, shape: tuple[int, ...], dtype: Any, slabs: Iterable[np.ndarray]) -> None:
    """An array of that shape from its slabs along the first axis."""
    with open(path, "wb") as file:
        header = {"descr": FORMAT.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
        FORMAT.write_array_header_2_0(file, header)
        for slab in slabs:
            np.ascontiguousarray(slab, dtype).tofile(file)
