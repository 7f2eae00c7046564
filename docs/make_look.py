"""Draw the pictures of docs/look.md from a small network trained on digits, and print its tables.

basis.png: the principal filters of its first layer, untrained and trained.   atlas.png: its depthwise kernels with their names.
waterline.png: operations and intensity of its layers, water at the machine's balance.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from portraits import DARK, LIGHT, LINE, Panel, side_by_side
from sklearn.datasets import load_digits
from torch import nn

from faltung import look

PICTURES = Path(__file__).parent / "pictures"
WIDTH, EPOCHS = 16, 12
ROOF = look.Roof(2e11, 2e10, "a core with 200 G ops/s and 20 GB/s")


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The 1797 digits that come with scikit-learn, twice as large, brightness from −1 to 1."""
    found = load_digits()
    x = torch.from_numpy(found.images).float()[:, None] / 8 - 1
    return nn.functional.interpolate(x, scale_factor=2, mode="bilinear"), torch.from_numpy(found.target)


def network() -> nn.Module:
    """A dense layer, two depthwise ones with their pointwise partners, and a head."""

    def block(stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(WIDTH, WIDTH, 7, stride, 3, groups=WIDTH, bias=False), nn.BatchNorm2d(WIDTH),
            nn.Conv2d(WIDTH, WIDTH, 1), nn.ReLU(inplace=True),
        ]  # fmt: skip

    first = [nn.Conv2d(1, WIDTH, 5, padding=2, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True)]
    return nn.Sequential(*first, *block(2), *block(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))


def quiet(model: nn.Module) -> nn.Module:
    """Small first values in front of batch norms, which do not see scale: what is left in the end was learnt."""
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Conv2d) and layer.bias is None:
                layer.weight.mul_(0.05)
    return model


def trained(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Train on the first 1500 digits; the share of the others that come out right."""
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    drawn = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for part in torch.randperm(1500, generator=drawn).split(100):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimiser.step()
    with torch.no_grad():
        return float((model.eval()(x[1500:]).argmax(1) == y[1500:]).float().mean())


def mosaic(filters: np.ndarray, columns: int) -> np.ndarray:
    """Filters side by side with a gap, each scaled to its largest tap."""
    count, height, width = filters.shape
    rows = -(-count // columns)
    made = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1))
    for index, one in enumerate(filters):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        made[top : top + height, left : left + width] = one / max(np.abs(one).max(), 1e-12)
    return made


def waterline(found: look.Efficiency) -> Image.Image:
    """Bars of width ops and height intensity, logarithmic, the water in blue."""
    wide, high, left, foot = 760, 220, 40, 40
    image = Image.new("RGB", (wide + left + 10, high + foot + LINE), LIGHT)
    draw = ImageDraw.Draw(image)
    total = sum(w.ops for w in found.rows)
    low, top = 0.1, 2 * max(found.roof.balance, *(w.intensity for w in found.rows))

    def place(value: float) -> int:
        return LINE + high - int(high * np.log(max(value, low) / low) / np.log(top / low))

    level, x = place(found.roof.balance), float(left)
    for n, work in enumerate(found.rows):
        width = max(wide * work.ops / total, 2)
        colour = (232, 140, 90) if work.intensity < found.roof.balance else (120, 170, 110)
        draw.rectangle([int(x), place(work.intensity), int(x + width) - 1, LINE + high], fill=colour)
        draw.text((int(x), LINE + high + 3 + LINE * (n % 3)), work.name, fill=DARK)
        x += width
    draw.line([left, level, left + wide, level], fill=(60, 110, 200), width=2)
    draw.text((left + 4, level - LINE), f"{found.roof.balance:.0f} ops/byte", fill=(60, 110, 200))
    for value in (0.1, 1, 10):
        draw.text((4, place(value) - LINE // 2), f"{value:g}", fill=DARK)
    return image


def main() -> None:
    torch.manual_seed(0)
    x, y = digits()
    model = quiet(network())
    before = look.FilterBasis.fit(model[0].weight.detach())
    print(f"right: {trained(model, x, y):.3f}")
    batch = x[1500:1628]
    after = look.FilterBasis.fit(model[0].weight.detach())
    panels = [
        Panel(mosaic(b.vectors[:10], 5), f"{name}: {', '.join(f'{r:.2f}' for r in b.ratios[:5])} ...")
        for name, b in (("untrained", before), ("trained", after))
    ]
    side_by_side(panels).save(PICTURES / "basis.png", optimize=True)
    atlas = look.kernel_atlas(model, batch)
    shapes = [
        look.Template("gaussian", 1.2), look.Template("dog", 1.0, 2.0), look.Template("first", 1.3),
        look.Template("first", 1.3, 0, 0.8),
        look.Template("second", 1.3), look.Template("second", 1.3, 0, 0.8), look.Template("cross"), look.Template("delta"),
    ]  # fmt: skip
    panels = [
        Panel(mosaic(np.stack([t.draw((7, 7)) for t in shapes]), 4), "templates: blob, ring, edges, bars, cross, delta")
    ]
    for layer in atlas.layers:
        kernels = model.get_submodule(layer.name).weight.detach().numpy()[:, 0]
        order = np.argsort([-p.score for p in layer.places])[:16]
        best = layer.places[order[0]]
        caption = f"layer {layer.name}: {layer.coverage:.0%} named, best {best.score:.2f}"
        panels.append(Panel(mosaic(kernels[order], 8), caption))
    side_by_side(panels).save(PICTURES / "atlas.png", optimize=True)
    work = look.efficiency(model, batch, roof=ROOF)
    waterline(work).save(PICTURES / "waterline.png", optimize=True)
    for found in (
        look.filters(model, batch), look.receptive_field(model, batch), look.spectrum(model, batch, fold=True),
        look.aliasing(model, batch), atlas, work, look.ranges(model, batch), look.representation_profile(model, batch),
    ):  # fmt: skip
        print(f"\n{found.table()}")


if __name__ == "__main__":
    main()
