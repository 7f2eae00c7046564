"""Sample data that come with the package: a photo, a spoken sentence and a brain. Origins and licences: README.md here.

And data that are made: maps of density from dots.
One task is drawn instead: `dynamic_signal`, a pattern hidden in one of many patches.
"""

import io
import wave
from importlib.resources import files

import numpy as np

from faltung.data.dots import dot_density

__all__ = ["SOUND_RATE", "dot_density", "photo", "sound", "volume"]
from faltung.errors import ArgumentError

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


def dynamic_signal(
    n: int, k: int, d: int, sigma: float = 1.0, signal: np.ndarray | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples in which one of k patches holds a hidden pattern, whose sign is the label, beneath noise.

    Formula: `x = y · (0, …, signal at patch t, …, 0) + sigma · ξ`, label y = ±1 and patch t uniform, ξ normal.

    Shapes: returns x (n, k·d), y (n,) of ±1.0, signal (d,), all float64.

    Args:
        n: samples, at least 0.   k: patches, at least 1.   d: values of a patch, at least 1.
        sigma: the noise's standard deviation, at least 0; the pattern's norm is 1. Default 1.
        signal: the pattern, as a former call returned it, so that samples to train and to test on share it. Default: a random
            direction.
        seed: of everything that is drawn; the same seed, the same samples. Default 0.

    Raises:
        ArgumentError: sizes out of range, or a pattern of another length.

    Source: Lahoti, Karp, Winston, Singh and Li, Role of locality and weight sharing in image-based tasks (2024).

    Example:
        >>> x, y, signal = dynamic_signal(100, 4, 8, sigma=0.0)
        >>> np.allclose(x.reshape(100, 4, 8).sum(1), y[:, None] * signal)
        True
    """
    for name, value, least in (("n", n, 0), ("k", k, 1), ("d", d, 1), ("sigma", sigma, 0)):
        if not value >= least:
            raise ArgumentError.of("dynamic_signal", f"{name} of at least {least}", repr(value), "choose a larger one")
    random = np.random.default_rng(seed)
    if signal is None:
        signal = random.standard_normal(d)
        signal = signal / np.linalg.norm(signal)
    elif np.shape(signal) != (d,):
        raise ArgumentError.of("dynamic_signal", f"a signal of shape ({d},)", f"{np.shape(signal)}", "match d")
    label = random.choice((-1.0, 1.0), n)
    x = sigma * random.standard_normal((n, k, d))
    x[np.arange(n), random.integers(0, k, n)] += label[:, None] * signal
    return x.reshape(n, k * d), label, np.asarray(signal, float)


def _bytes(name: str) -> bytes:
    return (files("faltung.data") / name).read_bytes()
