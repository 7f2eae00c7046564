"""Draw docs/pictures/synth.png: fractal classes, plasma by roughness, and one photo changed in four ways."""

from pathlib import Path

import numpy as np
from PIL import Image

from faltung import data, synth

SIDE = 128


def row(images: list[np.ndarray]) -> np.ndarray:
    """Images side by side, in colour, white lines between."""
    made = []
    for image in images:
        image = np.asarray(image)
        image = np.round(255 * image).astype(np.uint8) if image.dtype.kind == "f" else image
        image = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image
        made.append(np.pad(image, ((2, 2), (2, 2), (0, 0)), constant_values=255))
    return np.concatenate(made, axis=1)


def main() -> None:
    classes = synth.FractalClasses(6, 4, seed=3, size=SIDE, colour=True)
    searched = synth.FractalClasses(6, 1000, seed=1, size=SIDE, method="search")
    photo = data.photo()[40 : 40 + SIDE, 100 : 100 + SIDE] / 255
    other = data.photo()[120 : 120 + SIDE, 250 : 250 + SIDE] / 255
    x = np.stack([photo, other]).transpose(0, 3, 1, 2)
    warp = synth.LocalAugment(synth.warp, fields=2, strength=(0.6, 0.6))
    light = synth.LocalAugment(synth.brighten, strength=(0.6, 0.6))
    planes = photo.transpose(2, 0, 1)
    changed = [
        warp.apply(planes, warp.sample_state((SIDE, SIDE), 2)),
        light.apply(planes, light.sample_state((SIDE, SIDE), 4)),
        np.clip(synth.hybrid_augment(x, sigma=2.0, kernel=9, partner=np.array([1, 0]))[0], 0, 1),
        synth.ClasswiseConv(0, 2, kernel_size=9).apply(x[:1], np.zeros(1, int))[0],
        synth.scramble(x[:1], 32, rng=1)[0],
    ]
    rows = [
        row([classes[4 * c + 1][0] for c in range(6)]),
        row([searched[1000 * c + 17][0] for c in range(6)]),
        row([synth.plasma((SIDE, SIDE), r, generator=1)[0, 0] for r in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)]),
        row([photo, *(image.transpose(1, 2, 0) for image in changed)]),
    ]
    Image.fromarray(np.concatenate(rows)).save(Path(__file__).parent / "pictures" / "synth.png", optimize=True)


if __name__ == "__main__":
    main()
