"""Re-dilation: a network trained on textures of 32² pixels looks at the same textures enlarged, with its kernels as they are,
spread by re-dilation, or dispersed.

    python recipes/redilation.py             about half a minute
"""

import math

import torch
from torch import nn

from faltung import tools
from recipe import run, table

SIZES = (32, 40, 48, 64, 96)


def textures(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gratings of six periods at random angles and phases in noise, 32² pixels: the class is the period, so scale is all."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(6, (count,), generator=draw)
    periods = torch.tensor([3.5, 4.5, 6.0, 8.0, 11.0, 15.0])[labels]
    angles, phases = (torch.rand(2, count, generator=draw) * 2 * math.pi).unbind()
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    along = angles.cos()[:, None, None] * rows + angles.sin()[:, None, None] * columns
    waves = torch.sin(2 * math.pi / periods[:, None, None] * along + phases[:, None, None])
    return (waves + 0.5 * torch.randn(count, 32, 32, generator=draw)).unsqueeze(1), labels


def network() -> nn.Sequential:
    """Four convolutions, two of them with a stride, and a mean over all places: it takes every size."""
    layers: list[nn.Module] = []
    for n, (width, stride) in enumerate(((16, 1), (24, 2), (32, 1), (32, 2))):
        layers += [
            nn.Conv2d(layers[-3].out_channels if n else 1, width, 3, stride, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 6))


def train(model: nn.Module, x: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    steps = epochs * (len(x) // 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64)[: len(x) // 64]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> float:
    return (model(x).argmax(1) == labels).float().mean().item()


def dispersed(model: nn.Module, scale: int) -> nn.Module:
    """The same network with 5 × 5 kernels that act on the enlarged picture as the 3 × 3 ones did."""
    matrix = tools.dispersion_matrix(3, 5, scale)
    return tools.swap(model, lambda conv: tools.disperse(conv.to_torch(), 5, matrix), transfer=False).model


def main(quick: bool) -> str:
    x, labels = textures(384 if quick else 3000, 1)
    seen, wanted = textures(64 if quick else 1000, 2)
    model = network()
    train(model, x, labels, 1 if quick else 8)
    wide = dispersed(model, 2)
    lines = []
    for size in (32, 64) if quick else SIZES:
        factor = size / 32
        factor = int(factor) if factor == int(factor) else factor
        enlarged = nn.functional.interpolate(seen, (size, size), mode="bilinear")
        found = [accuracy(model, enlarged, wanted), accuracy(tools.redilate(model, {"*": factor}), enlarged, wanted)]
        found.append(accuracy(tools.redilate(wide, {"*": factor / 2}), enlarged, wanted) if factor >= 2 else None)
        lines.append([f"{size}²", factor, *("—" if value is None else f"{100 * value:.1f} %" for value in found)])
    text = "# Re-dilation\n\nA network of four 3 × 3 convolutions learns to tell gratings of six periods apart on 32² pixels. "
    text += "The test pictures are then enlarged, which multiplies their periods. Nothing is trained again: the convolutions run "
    text += "with `faltung.tools.redilate` at the factor of the enlargement, or as 5 × 5 kernels dispersed for a factor of 2 and "
    text += "re-dilated by the other half.\n\n"
    text += table(("pictures", "factor", "as trained", "re-dilated", "dispersed and re-dilated"), lines)
    plain, back, spread = lines[0][2], *next(line[3:] for line in lines if line[0] == "64²")
    text += "\n\nHe, Yang et al. (2024) report better pictures from diffusion models at 4 to 16 times as many pixels without "
    text += "training. Here the question is smaller: whether a network keeps at the larger size what it could at the trained one. "
    return (
        text
        + f"It loses it as it is, and keeps it re-dilated: {back} at 64² against {plain} at 32² (dispersed: {spread})."
    )


if __name__ == "__main__":
    run("redilation", main)
