"""Draw docs/pictures/lie.png, kernels of a lift over SO(2), SL(2), GL⁺(2), and docs/pictures/hyperbolic.png, lines of the disc."""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from faltung import nn
from faltung.nn import hyperbolic

CELL, GAP, ROW = 76, 8, 28
PICTURES = Path(__file__).parent / "pictures"


def shades(values: np.ndarray, top: float) -> Image.Image:
    """A kernel in colour: red for positive, blue for negative, white for zero."""
    v = np.clip(values / top, -1, 1)[..., None]
    red, blue = np.array([178, 24, 43.0]), np.array([33, 102, 172.0])
    colour = np.where(v > 0, 255 - v * (255 - red), 255 + v * (255 - blue))
    return Image.fromarray(colour.astype(np.uint8)).resize((CELL, CELL), Image.Resampling.NEAREST)


@torch.no_grad()
def kernels() -> None:
    """One kernel function, seen by eight elements of each group."""
    net = None
    picture = Image.new("RGB", (8 * (CELL + GAP) + GAP, 3 * (CELL + ROW) + GAP), "white")
    pen = ImageDraw.Draw(picture)
    words = {
        "SO": "SO(2): turned",
        "SL": "SL(2): stretched at equal area, and turned",
        "GL+": "GL+(2): stretched and turned",
    }
    for row, (group, text) in enumerate(words.items()):
        torch.manual_seed(12)
        layer = nn.LieLiftConv2d(
            1, 1, 38, group, 8, kernel_net=net or "siren", omega=5.0, spread=0.15, support="disc", reach=1.5, seed=3
        )
        net = layer.kernel_net
        pen.text((GAP, row * (CELL + ROW) + 9), text, fill="black")
        found = layer.kernel()[:, 0].numpy()
        for c, kernel in enumerate(found):
            at = (GAP + c * (CELL + GAP), row * (CELL + ROW) + ROW)
            picture.paste(shades(kernel, np.abs(found).max() * 0.8), at)
            pen.rectangle((*at, at[0] + CELL, at[1] + CELL), outline="grey")
    picture.save(PICTURES / "lie.png", optimize=True)


def disc() -> None:
    """A tree whose edges all have one length, three at every node, and where planes of a layer run."""
    size, four = 420, 2  # drawn twice as large, then reduced
    wide = size * four
    picture = Image.new("RGB", (wide * 2, wide), "white")
    pen = ImageDraw.Draw(picture)

    def at(p: np.ndarray, left: int) -> tuple[float, float]:
        return left + wide / 2 + p[0] * wide * 0.47, wide / 2 - p[1] * wide * 0.47

    for left in (0, wide):
        pen.ellipse((*at(np.array([-1, 1.0]), left), *at(np.array([1, -1.0]), left)), outline="black", width=3)
    step, c = 0.55, 1.0
    nodes = [(torch.zeros(2, dtype=torch.float64), k * 2 * math.pi / 3, 0) for k in range(3)]
    while nodes:
        place, angle, depth = nodes.pop()
        way = step * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        parts = [hyperbolic.mobius_add(place, hyperbolic.expmap0(way * s, c), c) for s in torch.linspace(0, 1, 9)]
        pen.line([at(p.numpy(), 0) for p in parts], fill=(33, 102, 172), width=max(2, 8 - depth))
        if depth < 6:
            # What leads back to the old place, as seen from the new one.
            back = hyperbolic.logmap0(hyperbolic.mobius_add(-parts[-1], place, c), c)
            behind = math.atan2(float(back[1]), float(back[0]))
            nodes += [(parts[-1], behind + turn * 2 * math.pi / 3, depth + 1) for turn in (1, 2)]
    for shift in np.linspace(-1.2, 1.2, 7):
        # Points with arsinh(λ⟨x, z⟩ cosh 2r − (λ − 1) sinh 2r) = 0: geodesics at a signed distance 2r from 0.
        t = torch.linspace(-6, 6, 400, dtype=torch.float64)
        start = hyperbolic.expmap0(torch.tensor([shift, 0.0], dtype=torch.float64), c)
        along = hyperbolic.expmap0(torch.stack([0 * t, t / 2], 1), c)
        curve = hyperbolic.mobius_add(start.expand_as(along), along, c)
        pen.line([at(p, wide) for p in curve.numpy()], fill=(178, 24, 43), width=4)
    picture.resize((size * 2, size), Image.Resampling.LANCZOS).save(PICTURES / "hyperbolic.png", optimize=True)


if __name__ == "__main__":
    kernels()
    disc()
    print(PICTURES / "lie.png", PICTURES / "hyperbolic.png")
