"""Images, sounds and arrays from files and back, with dtype, value range and metadata kept.

`read` gives a `Media`: the array, which axes are spatial, and what the file said beside the values. `write` puts a Media into a
file, whole or not at all. One file here for each kind of file, one line each in `FORMATS`.
"""

import errno
import os
from pathlib import Path
from typing import Any

from faltung.errors import FileError
from faltung.media import arrays, images, sounds, tiff
from faltung.media.medium import Media, package, reading, whole

FORMATS = (images, tiff, sounds, arrays)
SUFFIXES: frozenset[str] = frozenset(suffix for module in FORMATS for suffix in module.SUFFIXES)


def read(path: str | os.PathLike[str]) -> Media:
    """Read a file by its suffix: .png .jpg .jpeg .tif .tiff .wav .flac .npy.

    Images come as (rows, columns[, channels]) of uint8, uint16 or what a TIFF holds, turned upright as their EXIF says; palettes
    become colours. Sounds come as (time, channels) of the integers or floats that the file holds.

    Raises:
        FileError: for a file that is missing, of another kind, or damaged.   MissingExtraError: without the package that reads it.
    """
    source = Path(path)
    module = _format(source, "read")
    if not source.is_file():
        came = "a folder" if source.is_dir() else os.strerror(errno.ENOENT).lower()
        raise FileError.of(str(source), "a file", came, "check the path")
    with reading(source):
        return module.read(source)


def write(path: str | os.PathLike[str], media: Media) -> None:
    """Write a Media into a file of the kind that the suffix names; a failure leaves nothing behind and an old file as it was.

    Raises:
        FileError: if the format cannot hold this dtype, these channels or this kind, or the folder cannot be written to.
    """
    target = Path(path)
    module = _format(target, "write")
    module.check(target, media)
    with whole(target) as part:
        module.write(part, media)


def check(path: str | os.PathLike[str], media: Media) -> None:
    """Raise FileError now if `write` would refuse such a Media there: before the long work, not after it."""
    target = Path(path)
    _format(target, "write").check(target, media)
    if not target.parent.is_dir():
        raise FileError.of(
            str(target), "a folder to write to", f"{str(target.parent)!r}, which is none", "create it first"
        )


def _format(path: Path, verb: str) -> Any:
    for module in FORMATS:
        if path.suffix.lower() in module.SUFFIXES:
            return module
    kinds = " ".join(sorted(SUFFIXES))
    raise FileError.of(
        str(path), f"a file to {verb} among {kinds}", repr(path.suffix or path.name), "use one of these suffixes"
    )


__all__ = ["FORMATS", "SUFFIXES", "Media", "check", "package", "read", "whole", "write"]
