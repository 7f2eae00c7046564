"""Draw docs/pictures/gram.png: a digital net, its Gram matrix, and what one Walsh–Hadamard transform of both sides leaves of it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from faltung import gram
from faltung.engine import fwht

SIZE, N = 320, 64


def shades(values: np.ndarray) -> Image.Image:
    """A square matrix in grey, dark for large, one square an entry."""
    grey = 255 - np.clip(255 * values / values.max(), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.NEAREST).convert("RGB")


def main() -> None:
    design = gram.digital_net(N, 2, rng=1)
    matrix = gram.operator(design, gram.digital_shift_invariant(2, 0.7, dim=2)).dense()
    left = Image.new("RGB", (SIZE, SIZE), "white")
    draw = ImageDraw.Draw(left)
    for x, y in design.points * SIZE:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill="black")
    draw.rectangle((0, 0, SIZE - 1, SIZE - 1), outline="grey")
    both = fwht(fwht(matrix, 0, norm="ortho"), 1, norm="ortho")
    right = np.log1p(1e3 * np.maximum(both, 0) / both.max())
    assert np.abs(both - np.diag(np.diag(both))).max() < 1e-12 * both.max()
    panels = [left, shades(matrix - matrix.min()), shades(right)]
    picture = Image.new("RGB", (3 * SIZE + 40, SIZE), "white")
    for i, panel in enumerate(panels):
        picture.paste(panel, (i * (SIZE + 20), 0))
    target = Path(__file__).parent / "pictures" / "gram.png"
    picture.save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
