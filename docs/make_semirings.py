"""Draw docs/pictures/semirings.png: photo, closing, gradient and distance to its edges; below, a noisy sequence decoded."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from faltung import convolve, data, filters  # noqa: E402
from semirings import distances, shapes, viterbi  # noqa: E402


def panels() -> np.ndarray:
    """Four squares of 300 in a row."""
    grey = data.photo()[:, 75:375].mean(axis=2).astype("float32")
    made = shapes(grey)
    edges = np.hypot(*(convolve(grey, filters.sobel(axis=a, ndim=2), mode="same", boundary="reflect") for a in (0, 1)))
    away = distances(edges > 220)
    pictures = [grey, made["closed"], 255 - made["gradient"] * 2, 255 - np.sqrt(away / away.max()) * 255]
    return np.concatenate([np.clip(p, 0, 255) for p in pictures], axis=1)


def sequence() -> np.ndarray:
    """400 steps of 64 levels: what was seen (grey), what is decoded (red)."""
    random = np.random.default_rng(0)
    truth = np.round(32 + 20 * np.sin(np.arange(400) / 25) + 6 * np.sin(np.arange(400) / 9)).astype(int)
    seen = truth + random.standard_normal(400) * 6
    scores = -0.5 * ((np.arange(64) - seen[:, None]) / 6) ** 2
    course = viterbi(scores, np.full(5, -np.log(5.0)))
    picture = np.repeat(255 - 120 * np.exp(scores.T[::-1] * 8)[..., None], 3, axis=2)
    picture[63 - course, np.arange(400)] = (200, 30, 30)
    return picture.repeat(3, axis=0).repeat(3, axis=1)


def main() -> None:
    top = np.repeat(panels()[..., None], 3, axis=2)
    target = ROOT / "docs" / "pictures" / "semirings.png"
    Image.fromarray(np.concatenate([top, sequence()], axis=0).astype(np.uint8)).save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
