"""Draw docs/pictures/sequence.png: filters as they are before training, three of each constructor, 300 taps."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from faltung.nn import sequence
from faltung.nn.sequence import FilterConstructor

TAPS, WIDTH, HEIGHT, ROW = 300, 300, 120, 4
COLOURS = ((200, 60, 40), (40, 110, 190), (60, 150, 80))
STEPS = {"dt": (0.005, 0.05)}

# A caption, and what makes three filters.
PANELS: dict[str, Callable[[], FilterConstructor]] = {
    "S4D-Lin": lambda: sequence.DiagonalStateSpace(3, 32, **STEPS),
    "S4D-Inv": lambda: sequence.DiagonalStateSpace(3, 32, init="s4d-inv", **STEPS),
    "S4D-LegS": lambda: sequence.DiagonalStateSpace(3, 32, init="s4d-legs", **STEPS),
    "S4D-Real": lambda: sequence.DiagonalStateSpace(3, 32, init="s4d-real", **STEPS),
    "S4, LegS": lambda: sequence.LowRankStateSpace(3, 32, **STEPS),
    "S4, LegT": lambda: sequence.LowRankStateSpace(3, 32, init="legt", **STEPS),
    "LSSL, LegS": lambda: sequence.DenseStateSpace(3, 32, **STEPS),
    "moving averages": lambda: sequence.MovingAverage(3, times=(10, 100)),
    "damped averages": lambda: sequence.DampedMovingAverage(3),
    "free taps": lambda: sequence.FreeFilter(3, TAPS).eval(),
    "pieces of SGConv": lambda: sequence.MultiScale(3, TAPS, piece=16),
    "a network of sines": lambda: sequence.ImplicitFilter(3, TAPS),
}


def panel(caption: str, filters: torch.Tensor) -> Image.Image:
    """Each filter (taps) as a curve, scaled to its largest tap."""
    picture = Image.new("RGB", (WIDTH, HEIGHT + 16), "white")
    draw = ImageDraw.Draw(picture)
    middle = 16 + HEIGHT / 2
    draw.line((0, middle, WIDTH, middle), fill=(210, 210, 210))
    for colour, taps in zip(COLOURS, filters, strict=True):
        heights = middle - taps / taps.abs().max() * (HEIGHT / 2 - 3)
        draw.line([(i * WIDTH / TAPS, y) for i, y in enumerate(heights.tolist())], fill=colour)
    draw.text((4, 2), caption, fill="black")
    return picture


def main() -> None:
    panels = []
    for caption, make in PANELS.items():
        torch.manual_seed(0)
        with torch.no_grad():
            filters = make().filters(TAPS)[:, 0]
        assert filters.isfinite().all()
        panels.append(panel(caption, filters))
    rows = -(-len(panels) // ROW)
    picture = Image.new("RGB", (ROW * (WIDTH + 12) - 12, rows * (HEIGHT + 28) - 12), "white")
    for i, one in enumerate(panels):
        picture.paste(one, (i % ROW * (WIDTH + 12), i // ROW * (HEIGHT + 28)))
    target = Path(__file__).parent / "pictures" / "sequence.png"
    picture.save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
