"""NumPy's own files: any dtype, any shape, no metadata."""

from pathlib import Path

import numpy as np

from faltung.errors import FileError
from faltung.media.medium import Media

SUFFIXES = (".npy",)


def read(path: Path) -> Media:
    """The array of a file; FileError for pickled objects and for what are no numbers."""
    array = np.load(path, allow_pickle=False)
    if array.ndim == 0 or array.dtype.kind not in "biufc":
        raise FileError.of(
            str(path), "numbers on at least one axis", f"{array.dtype} of shape {array.shape}", "save another array"
        )
    return Media(array, "array")


def check(path: Path, media: Media) -> None:
    """Every Media can be written as an array."""


def write(path: Path, media: Media) -> None:
    """The array alone."""
    np.save(path, media.array, allow_pickle=False)
