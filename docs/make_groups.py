"""Draw docs/pictures/groups.png: one filter expanded over p4m, over c8 by harmonics, and a kernel from scalars to vectors.

And docs/pictures/scales.png: one filter at six scales, and what they make of a photo and of the same at half the size.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from faltung import data, nn

CELL, GAP, ROW = 84, 8, 30


def shades(values: np.ndarray, top: float, cell: int = CELL) -> Image.Image:
    """A kernel in colour: red for positive, blue for negative, white for zero."""
    v = np.clip(values / top, -1, 1)[..., None]
    red, blue = np.array([178, 24, 43.0]), np.array([33, 102, 172.0])
    colour = np.where(v > 0, 255 - v * (255 - red), 255 + v * (255 - blue))
    return Image.fromarray(colour.astype(np.uint8)).resize((cell, cell), Image.Resampling.NEAREST)


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


@torch.no_grad()
def scaled() -> list[tuple[str, np.ndarray]]:
    """A filter, the photo at half and at whole size, and results at each scale."""
    torch.manual_seed(3)
    layer = nn.ScaleConv2d(1, 1, 6, 2**0.5, "trivial", order=3, padding="same", padding_mode="reflect", bias=False)
    layer.weight[..., 0, 0] = 0  # the widest blur, which would hide the rest
    whole = Image.fromarray(data.photo()).convert("L")
    side = min(whole.size) // 4 * 4
    whole = whole.crop((0, 0, side, side))

    def results(size: int) -> np.ndarray:
        image = np.asarray(whole.resize((size, size), Image.Resampling.BOX), dtype=np.float32) / 255
        return layer(torch.from_numpy(image - image.mean())[None, None])[0].numpy()

    return [
        ("One filter of 15 weights, at six scales that double every two", layer.kernel()[:, 0].numpy()),
        ("A photo of 64 by 64 pixels: results at the six scales", results(64)),
        ("The same of 128 by 128 pixels: what stood two columns further left", results(128)),
    ]  # fmt: skip


def draw_scales() -> None:
    drawn, cell = scaled(), 124
    picture = Image.new("RGB", (6 * (cell + GAP) + GAP, len(drawn) * (cell + ROW) + GAP), "white")
    pen = ImageDraw.Draw(picture)
    for n, (words, maps) in enumerate(drawn):
        pen.text((GAP, n * (cell + ROW) + 10), words, fill="black")
        for c, values in enumerate(maps):
            at = (GAP + c * (cell + GAP), n * (cell + ROW) + ROW)
            top = np.abs(values).max() if n == 0 else np.abs(drawn[1][1]).max() * 0.6
            picture.paste(shades(values, top, cell), at)
            pen.rectangle((*at, at[0] + cell, at[1] + cell), outline="grey")
    target = Path(__file__).parent / "pictures" / "scales.png"
    picture.quantize(64).save(target, optimize=True)
    print(target)


def main() -> None:
    draw_scales()
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
