"""Draw docs/pictures/groups.png: one filter expanded over p4m, over c8 by harmonics, and a kernel from scalars to vectors."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from faltung import nn

CELL, GAP, ROW = 84, 8, 30


def shades(values: np.ndarray, top: float) -> Image.Image:
    """A kernel in colour: red for positive, blue for negative, white for zero."""
    v = np.clip(values / top, -1, 1)[..., None]
    red, blue = np.array([178, 24, 43.0]), np.array([33, 102, 172.0])
    colour = np.where(v > 0, 255 - v * (255 - red), 255 + v * (255 - blue))
    return Image.fromarray(colour.astype(np.uint8)).resize((CELL, CELL), Image.Resampling.NEAREST)


@torch.no_grad()
def rows() -> list[tuple[str, np.ndarray]]:
    torch.manual_seed(7)
    square = nn.GroupConv2d(1, 1, 5, "p4m", "trivial", bias=False)
    waves = nn.GroupConv2d(1, 1, 15, "c8", "trivial", bias=False, filters="harmonics")
    weight = waves.weight.zero_()
    weight[0, 0, 9:16] = torch.randn(7)  # the harmonics of the rings in the middle
    weight[0, 0, 16:30] = torch.randn(14)
    weight[0, 0, 30:] = 0
    field = nn.SteerableConv("0", "0 + 1 + 2 + 3", 15, bias=False)
    count = [field.kernel()[c, 0].numpy() for c in range(7)]
    return [
        ("p4m: one filter of 25 weights, the eight of the expanded bank", square.kernel()[:, 0].numpy()),
        ("c8: one filter of circular harmonics, turned by eighths of a circle", waves.kernel()[:, 0].numpy()),
        ("SO(2): kernels from a scalar to a scalar, a vector and fields of frequency 2 and 3", np.array(count)),
    ]


def main() -> None:
    drawn = rows()
    picture = Image.new("RGB", (8 * (CELL + GAP) + GAP, len(drawn) * (CELL + ROW) + GAP), "white")
    pen = ImageDraw.Draw(picture)
    for n, (words, kernels) in enumerate(drawn):
        pen.text((GAP, n * (CELL + ROW) + 10), words, fill="black")
        for c, kernel in enumerate(kernels):
            at = (GAP + c * (CELL + GAP), n * (CELL + ROW) + ROW)
            picture.paste(shades(kernel, np.abs(kernels).max()), at)
            pen.rectangle((*at, at[0] + CELL, at[1] + CELL), outline="grey")
    target = Path(__file__).parent / "pictures" / "groups.png"
    picture.save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
