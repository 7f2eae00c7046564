"""WAV and FLAC through libsndfile: samples as the integers or floats that the file holds, all channels, tags kept."""

from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import FileError
from faltung.media.medium import Media, package

SUFFIXES = (".wav", ".flac")
# what libsndfile hands over, how far our integers lie below it, and the value that means full
INTEGERS: dict[str, tuple[str, int, float]] = {
    "PCM_U8": ("int16", 8, 2.0**7),
    "PCM_S8": ("int16", 8, 2.0**7),
    "PCM_16": ("int16", 0, 2.0**15),
    "PCM_24": ("int32", 8, 2.0**23),
    "PCM_32": ("int32", 0, 2.0**31),
}
SAME = {("FLAC", "PCM_U8"): "PCM_S8", ("WAV", "PCM_S8"): "PCM_U8"}


def read(path: Path) -> Media:
    """All channels of a sound, with rate, sample format and tags."""
    with _soundfile().SoundFile(path) as file:
        kind, shift, top = INTEGERS.get(file.subtype, ("float32" if file.subtype == "FLOAT" else "float64", 0, 1.0))
        samples = file.read(dtype=kind, always_2d=True)
        metadata = {"rate": file.samplerate, "subtype": file.subtype, "tags": file.copy_metadata()}
    if not samples.size:
        raise FileError.of(str(path), "a sound with at least one sample", "none", "check the file")
    return Media(samples >> shift if shift else samples, "sound", samples.shape[1], top=top, metadata=metadata)


def check(path: Path, media: Media) -> None:
    """Raise FileError unless the container holds such samples."""
    if media.kind != "sound":
        raise FileError.of(
            str(path), "a sound", f"an {media.kind}", "write it with a suffix of its own kind, or as .npy"
        )
    form, subtype = _form(path), _subtype(path, media)
    if not _soundfile().check_format(form, subtype):
        raise FileError.of(str(path), f"samples that {form} can hold", subtype, "write a .wav file")


def write(path: Path, media: Media) -> None:
    """Write samples and tags in the sample format that they came in."""
    subtype = _subtype(path, media)
    kind, shift, _ = INTEGERS.get(subtype, (str(media.array.dtype), 0, 1.0))
    samples = np.left_shift(media.array.astype(kind), shift) if shift else media.array
    rate, channels = media.metadata["rate"], media.array.shape[1]
    with _soundfile().SoundFile(path, "w", rate, channels, subtype=subtype, format=_form(path)) as file:
        for name, value in media.metadata.get("tags", {}).items():
            setattr(file, name, value)
        file.write(samples)


def _form(path: Path) -> str:
    return path.suffix.lower().lstrip(".").upper()


def _subtype(path: Path, media: Media) -> str:
    """The file's own sample format, or its equal in the other container; floats where the values are floats now."""
    subtype = media.metadata["subtype"]
    if media.array.dtype.kind == "f" and subtype in INTEGERS:
        return "FLOAT" if media.array.dtype == np.float32 else "DOUBLE"
    return SAME.get((_form(path), subtype), subtype)


def _soundfile() -> Any:
    return package("soundfile", "soundfile", "reading and writing sounds")
