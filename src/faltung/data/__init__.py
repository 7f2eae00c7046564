"""Sample data that come with the package: a photo, a spoken sentence and a brain. Origins and licences: README.md here.

And data that are made: maps of density from dots.
"""

import io
import wave
from importlib.resources import files

import numpy as np

from faltung.data.dots import dot_density

__all__ = ["SOUND_RATE", "dot_density", "photo", "sound", "volume"]

SOUND_RATE = 16_000


def photo() -> np.ndarray:
    """Chelsea the cat, as uint8.

    Shapes: returns (300, 451, 3): rows, columns, red-green-blue.
    Raises: MissingExtraError without Pillow.
    Source: photograph by Stéfan van der Walt, CC0.

    Example:
        >>> photo().shape
        (300, 451, 3)
    """
    from faltung.media import package

    image = package("PIL.Image", "pillow", "reading the sample photo")
    return np.asarray(image.open(io.BytesIO(_bytes("photo.png"))))


def sound() -> np.ndarray:
    """One spoken sentence, 5.3 seconds at `SOUND_RATE` = 16,000 samples a second, as float64 within ±1.

    Shapes: returns (84800,): time.
    Source: a LibriVox reading of Sense and Sensibility, public domain.

    Example:
        >>> sound().ndim
        1
    """
    with wave.open(io.BytesIO(_bytes("sound.wav"))) as recording:
        return np.frombuffer(recording.readframes(recording.getnframes()), "<i2") / 32768.0


def volume() -> np.ndarray:
    """A brain by magnetic resonance, int16 from 0 to 1162, voxels of 2.2 × 2 × 2 mm.

    Shapes: returns (24, 96, 80): z from the bottom up, y from the forehead back, x.
    Source: nibabel's test data, MIT licence.

    Example:
        >>> volume().shape
        (24, 96, 80)
    """
    with np.load(io.BytesIO(_bytes("volume.npz"))) as archive:
        return archive["volume"]


def _bytes(name: str) -> bytes:
    return (files("faltung.data") / name).read_bytes()
