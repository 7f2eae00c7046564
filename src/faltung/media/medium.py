"""What all kinds of files share: the Media object, reading with clear errors, writing whole files, optional packages."""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import FaltungError, FileError, MissingExtraError


@dataclass(frozen=True)
class Media:
    """The content of a file.

    Fields:
        array: (*spatial) or (*spatial, channels).   kind: `image`, `sound` or `array`.
        channels: how many, on the last axis; None where there is no such axis.
        alpha: whether the last channel says how opaque a pixel is.   premultiplied: whether the colours were multiplied by it.
        top: the value that means full: 255, 65535, 32768, 1.0, ...; None where the file does not say (arrays).
        metadata: what else the file said, by name: icc, exif, dpi, text, rate, subtype, tags, ...
    """

    array: np.ndarray
    kind: str
    channels: int | None = None
    alpha: bool = False
    premultiplied: bool = False
    top: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spatial(self) -> int:
        """Number of axes that are convolved."""
        return self.array.ndim - (self.channels is not None)

    def of(self, array: np.ndarray, dtype: Any = None) -> "Media":
        """The same kind of Media with other values, in this one's dtype (or the given one).

        Integers are rounded half to even and kept within the range of the file: 0..top for images, -top..top - 1 for sounds.
        """
        target = np.dtype(self.array.dtype if dtype is None else dtype)
        if target == array.dtype or target.kind not in "iu":
            return replace(self, array=array.astype(target, copy=False))
        info = np.iinfo(target)
        lo, hi = float(info.min), float(info.max)
        if self.top is not None and dtype is None:
            lo, hi = (-self.top, self.top - 1.0) if self.kind == "sound" else (max(lo, 0.0), min(hi, self.top))
        if array.dtype.kind in "iub":
            return replace(self, array=np.clip(array, int(lo), int(hi)).astype(target))
        # the largest float below 2**63 is not its neighbour integer, so saturate by hand where the float reaches the edge
        rounded = np.rint(array, dtype=np.float64)
        out = np.where(np.isnan(rounded), 0.0, np.clip(rounded, lo, np.nextafter(hi + 1.0, 0.0)))
        return replace(self, array=out.astype(target))


def package(module: str, distribution: str, purpose: str) -> Any:
    """Import an optional package when it is needed; MissingExtraError names the extra that brings it."""
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError.of(
            purpose, f"the package {distribution}", "an installation without it", "run: pip install 'faltung[cli]'"
        ) from None


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into one FileError about that file; keep its warnings off the terminal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a decoder's remark on odd metadata is no news about the values
            yield
    except (FaltungError, MemoryError):
        raise
    except PermissionError:
        raise FileError.of(
            str(path), "a file that may be read", "permission denied", "change its permissions"
        ) from None
    except Exception as error:  # decoders raise everything from OSError to struct.error
        said = " ".join(str(error).split()) or type(error).__name__
        raise FileError.of(
            str(path), f"a valid {path.suffix.lower().lstrip('.')} file", f"{said!r}", "check the file"
        ) from error


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A path beside the target to write to; it takes the target's place if the block ends well and vanishes if not.

    Raises: FileError if the folder or the file cannot be written.
    """
    target = Path(os.path.realpath(target))  # a link stays a link, its file is replaced
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix.lower(), dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from None
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(_mode(target))
        os.replace(part, target)
    except FaltungError:
        raise
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def _mode(target: Path) -> int:
    """The permissions that the file would have had: those of the old one, or the usual ones."""
    try:
        return target.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _unwritable(target: Path, error: OSError) -> FileError:
    return FileError.of(
        str(target), "a file that can be written", (error.strerror or str(error)).lower(), "choose another place"
    )
