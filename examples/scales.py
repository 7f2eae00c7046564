"""How large the discs in an image are: one filter at thirteen scales, and at which of them each disc answers most."""

import math

import torch

from faltung import nn

DISCS = {(40, 45): 4.0, (45, 130): 7.0, (130, 60): 11.0, (135, 150): 16.0}
"""Radii by the places of the middles."""


def image(size: int) -> torch.Tensor:
    """Bright discs on a grey ground."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    found = torch.full((size, size), 0.3, dtype=torch.float64)
    for (row, column), radius in DISCS.items():
        found[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 1.0
    return found[None, None]


def main() -> None:
    ratio = 2**0.25
    layer = nn.ScaleConv2d(
        1, 1, 13, ratio, "trivial", width=2.0, padding="same", padding_mode="reflect", bias=False, dtype=torch.float64
    )
    with torch.no_grad():  # minus the Laplacian of the Gauss function, from three of the nine Hermite–Gauss functions
        layer.weight.zero_()
        layer.weight[0, 0, 0, 0, 0] = 1.0
        layer.weight[0, 0, 0, 0, 2] = layer.weight[0, 0, 0, 2, 0] = -math.sqrt(0.5)
        answers = layer(image(200))[0]

    print(f"{layer.weight.numel()} weights, a kernel of {tuple(layer.kernel().shape)}")
    for (row, column), radius in DISCS.items():
        scale = int(answers[:, row, column].argmax())
        # A disc answers most where the filter's positive middle covers it: at a deviation of radius / √2.
        found = math.sqrt(2) * layer.width * ratio**scale
        print(
            f"disc at ({row}, {column}): most at scale {scale:2}, so a radius of {found:4.1f}; drawn with {radius:4.1f}"
        )
        assert max(found / radius, radius / found) < ratio

    most = nn.ScalePool2d(1, 13)(answers[None])[0, 0]
    heights = [float(most[place]) for place in DISCS]
    print("largest over scales:", ", ".join(f"{height:.3f}" for height in heights), "- the same for all sizes")
    assert max(heights) < 1.05 * min(heights)


if __name__ == "__main__":
    main()
