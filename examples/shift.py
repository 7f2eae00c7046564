"""A photo moved by a pixel: which layers follow, where a small network loses it, and the network that does not."""

import torch

import faltung
from faltung import certify, data, nn


def main() -> None:
    torch.manual_seed(0)
    photo = torch.tensor(data.photo()).permute(2, 0, 1).double()[None, :, 60:188, 100:228] / 255

    print("largest relative change under shifts by whole pixels (maps up to a roll)")
    for layer in (torch.nn.MaxPool2d(2), nn.MaxBlurPool2d(padding_mode="circular"), nn.PolyphaseDownsample2d()):
        report = certify.equivariance(layer, "shift up to a roll", photo, count=8, layers=None)
        print(f"  {type(layer).__name__:20} {report.error:.1e}")

    print("and under shifts by fractions of a pixel")
    for layer in (torch.nn.GELU(), nn.Oversampled(torch.nn.GELU(), 2), nn.AliasFreeActivation2d(3).double()):
        fraction = certify.equivariance(layer, "fractional shift", photo, count=8, layers=None)
        print(f"  {type(layer).__name__:20} {fraction.error:.1e}")

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, stride=2, padding=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
    ).double()  # fmt: skip
    kept = faltung.antialias(network, photo, "polyphase", count=4)
    print(kept)
    lost = certify.equivariance(network, "shift up to a roll", photo, count=4)
    lost.picture("shift_lost.html")
    print(lost)

    assert report.error == 0
    assert fraction.error < 1e-12
    assert kept.before.error > 1e-6 > 1e-12 > kept.after.error
    assert lost.lost[0].name == "0"


if __name__ == "__main__":
    main()
