"""Draw docs/pictures/receptive_fields.png: what the middle of a result depends on, for small nets of several operators.

Every net has eight channels, is as its first values are drawn, and sees noise; the panels share one scale of colours. Captions give
the width of the field and of the square that holds half of it.
"""

from pathlib import Path

import torch
from portraits import Panel, side_by_side

from faltung import nn, tools

SIZE, CHANNELS = 97, 8


def small(count: int) -> torch.nn.Module:
    """That many plain convolutions of 3 × 3 taps, a rectifier behind each."""
    layers = [part for _ in range(count) for part in (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers)


def stack(make, count: int) -> torch.nn.Module:
    return torch.nn.Sequential(*(make() for _ in range(count)))


NETS = {
    "15 x conv 3 x 3": lambda: small(15),
    "2 x large kernel 31 x 31": lambda: stack(lambda: nn.LargeKernelBlock2d(CHANNELS, 31, layer_scale=1.0), 2),
    "4 x Inception depthwise": lambda: stack(lambda: nn.InceptionDWConv2d(CHANNELS, ratio=0.25), 4),
    "1 x RecConv, 4 levels": lambda: nn.RecConv2d(CHANNELS, levels=4),
    "2 x shift-wise 51": lambda: stack(lambda: nn.ShiftWiseConv2d(CHANNELS, 51), 2),
}


def main() -> None:
    panels = []
    for name, make in NETS.items():
        torch.manual_seed(0)
        field = tools.receptive_field(make(), torch.randn(8, CHANNELS, SIZE, SIZE))
        side, half = int((field > 1e-6).any(0).sum()), tools.extent(field)
        panels.append(Panel(field.numpy(), f"{name}: {side}, half {half}", "log"))
    target = Path(__file__).parent / "pictures" / "receptive_fields.png"
    side_by_side(panels).save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
