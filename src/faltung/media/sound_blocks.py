"""Sounds a block at a time, from files and pipes to files and pipes: nothing is held but the block.

A pipe is named `-`. libsndfile reads WAV and AU from pipes; it cannot write WAV there, because it would have to go back and say how
long the sound has become, so the header that says "unknown" is written here, as sox and ffmpeg do.
"""

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import FileError
from faltung.media.medium import Media
from faltung.media.sounds import INTEGERS, SAME, _soundfile

PIPE = Path("-")
UNKNOWN = 0xFFFFFFFF
# format tag and bytes of a sample in a WAV header
WAV = {"PCM_U8": (1, 1), "PCM_16": (1, 2), "PCM_24": (1, 3), "PCM_32": (1, 4), "FLOAT": (3, 4), "DOUBLE": (3, 8)}


class Reader:
    """A sound to be read in blocks: `rate`, `channels`, `subtype`, `frames` (None in a pipe), `blocks()`."""

    def __init__(self, path: Path) -> None:
        self.path, piped = path, path == PIPE
        if not piped and not path.is_file():
            raise FileError.of(str(path), "a file", "none", "check the path")
        module = _soundfile()
        try:
            self._file = module.SoundFile(sys.stdin.fileno() if piped else path, closefd=not piped)
        except module.LibsndfileError as error:
            raise FileError.of(
                str(path), "a WAV, AU or FLAC sound (a pipe: WAV or AU)", f"{error}", "check it"
            ) from None
        self.rate, self.channels, self.subtype = self._file.samplerate, self._file.channels, self._file.subtype
        self.frames = None if piped else self._file.frames
        self.kind, self._shift, self.top = INTEGERS.get(
            self.subtype, ("float32" if self.subtype == "FLOAT" else "float64", 0, 1.0)
        )
        self.metadata = {"rate": self.rate, "subtype": self.subtype, "tags": self._file.copy_metadata()}

    def media(self, samples: np.ndarray) -> Media:
        """Some of the samples as the content of a file."""
        return Media(samples, "sound", self.channels, top=self.top, metadata=self.metadata)

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """Samples (time, channels) in the file's own integers or floats, `size` of them but for the last block."""
        while len(samples := self._file.read(size, dtype=self.kind, always_2d=True)):
            yield samples >> self._shift if self._shift else samples


class Writer:
    """A sound to be written in blocks, in the sample format of the reader that it follows or in floats."""

    def __init__(self, path: Path, form: str, like: Reader, channels: int, subtype: str | None) -> None:
        self.subtype = SAME.get((form, subtype or like.subtype), subtype or like.subtype)
        self.kind, self._shift, _ = INTEGERS.get(
            self.subtype, ("float32" if self.subtype == "FLOAT" else "float64", 0, 1.0)
        )
        if path == PIPE:
            if self.subtype not in WAV:
                raise FileError.of("-", f"samples among {', '.join(WAV)}", self.subtype, "write to a file")
            tag, item = WAV[self.subtype]
            rates = (channels, like.rate, like.rate * channels * item, channels * item, 8 * item)
            sys.stdout.buffer.write(
                struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", UNKNOWN, b"WAVE", b"fmt ", 16, tag, *rates, b"data", UNKNOWN)
            )
            self._file: Any = None
            return
        module = _soundfile()
        if not module.check_format(form, self.subtype):
            raise FileError.of(str(path), f"samples that {form} can hold", self.subtype, "write a .wav file")
        self._file = module.SoundFile(path, "w", like.rate, channels, subtype=self.subtype, format=form)
        for name, value in like.metadata["tags"].items():
            setattr(self._file, name, value)

    def write(self, samples: np.ndarray) -> None:
        """Samples in the reader's integers or floats."""
        values = np.left_shift(samples.astype(self.kind), self._shift) if self._shift else samples.astype(self.kind)
        if self._file is not None:
            self._file.write(values)
            return
        item = WAV[self.subtype][1]
        if self.subtype == "PCM_U8":
            raw = ((values >> 8) + 128).astype(np.uint8).tobytes()
        elif item == 3:  # the upper three bytes of four
            raw = values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
        else:
            raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
        sys.stdout.buffer.write(raw)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        else:
            sys.stdout.buffer.flush()
