"""Draw docs/pictures/photo.png: the sample photo blurred, sharpened, its edges, its dilation."""

from pathlib import Path

import numpy as np
from PIL import Image

from faltung import convolve, data, filters

COLOUR = "*s c, *s -> *s c"


def panels() -> list[np.ndarray]:
    """The four results, each 300 × 300 in colour."""
    photo = data.photo()[:, 75:375]
    options = {"mode": "same", "boundary": "reflect"}
    blurred = convolve(photo, filters.gaussian(4, ndim=2), COLOUR, dtype="uint8", **options)
    identity = np.zeros((25, 25))
    identity[12, 12] = 1
    soft = filters.gaussian(3, ndim=2)
    soft = np.pad(soft, (25 - soft.shape[0]) // 2)
    sharp = convolve(photo, identity + 1.5 * (identity - soft), COLOUR, dtype="uint8", **options)
    grey = photo.mean(axis=-1)
    edges = np.hypot(*(convolve(grey, filters.sobel(axis=a, ndim=2), **options) for a in (0, 1)))
    paper = np.repeat(255 - np.clip(edges, 0, 255)[..., None], 3, axis=-1).astype(np.uint8)
    disk = np.where(filters.disk(4) > 0, 0.0, -np.inf)
    grown = convolve(photo.astype(np.float32), disk, COLOUR, over="max-plus", mode="same", boundary="reflect")
    return [blurred, sharp, paper, grown.astype(np.uint8)]


def main() -> None:
    target = Path(__file__).parent / "pictures" / "photo.png"
    target.parent.mkdir(exist_ok=True)
    Image.fromarray(np.concatenate(panels(), axis=1)).save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
