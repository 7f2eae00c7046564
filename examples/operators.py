"""Layers of the literature on a photo: a merged block, a layer with an exact inverse, a network whose layers are swapped."""

import torch

import faltung
from faltung import data, nn


def main() -> None:
    torch.manual_seed(0)
    photo = torch.tensor(data.photo()).permute(2, 0, 1).float()[None] / 255

    # Train with parallel branches, run with one convolution: the same picture.
    block = nn.DilatedReparam2d(3, 13).eval()
    merged = block.deploy()
    apart = (block(photo) - merged(photo)).abs().max().item()
    print(f"{block!r} is {merged}, apart by {apart:.1e}")

    # A convolution that has an exact inverse, for the same number of channels.
    flow = nn.InvertibleConv2d(3, 3, orders=("TL",))
    y, log_determinant = flow(photo)
    back = flow.inverse(y)
    lost = (back - photo).abs().max().item()
    print(f"inverse after {flow!r}: lost {lost:.1e}, log-determinant {log_determinant.item():.0f}")

    # Another operator in a network's place, its weights fitted to what was there.
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 3, padding=1)
    )
    report = faltung.swap(network, "WeightedConv2d", where="0", density=[0.7])
    print(report)
    before, after = sum(p.numel() for p in network.parameters()), sum(p.numel() for p in report.model.parameters())
    change = (network(photo) - report.model(photo)).abs().max().item()
    sources = faltung.cite(report.model)

    assert apart < 1e-4
    assert lost < 1e-3
    assert log_determinant == 0
    assert change < 1e-4
    assert before == after
    assert len(sources) == 1


if __name__ == "__main__":
    main()
