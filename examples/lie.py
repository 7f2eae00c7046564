"""A photo, stretched and turned: how far the answers of plain features and of features over SL(2) move."""

import torch

from faltung import certify, data, nn
from faltung.certify.actions import AffineMap
from faltung.nn.lie import SL, GroupSamples


def main() -> None:
    torch.manual_seed(0)
    photo = torch.tensor(data.photo()).double().mean(2)[None, None, 40:168:2, 90:218:2] / 255
    photo = photo - photo.mean()

    group = SL(2)
    g = group.sample(1, spread=0.2, rotations="random")[0]
    stretch = group.polar(g)[0]
    again = group.exp(group.log(g))
    print("an area-preserving map ", [[round(v, 3) for v in row] for row in g.tolist()])
    print("  = stretch            ", [[round(v, 3) for v in row] for row in stretch.tolist()])
    print("  · turn by            ", round(float(group.log(g)[-1]), 3), "radians")

    def features(layer: torch.nn.Module) -> torch.nn.Module:
        return torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

    plain = features(torch.nn.Conv2d(1, 8, 9, padding=4, bias=False, dtype=torch.float64))
    maps, errors = AffineMap("SL", spread=0.03), {}
    errors["plain"] = certify.equivariance(plain, maps, photo, count=12, layers=None).mean
    for count in (4, 64):
        samples = GroupSamples(group, count, spread=0.05, dtype=torch.float64)
        lift = nn.LieLiftConv2d(1, 8, 9, samples, padding=4, bias=False, dtype=torch.float64)
        pooled = features(torch.nn.Sequential(lift, torch.nn.ReLU(), nn.LieGroupPool2d(8, "mean")))
        errors[f"{count} elements"] = certify.equivariance(pooled, maps, photo, count=12, layers=None).mean
    for name, error in errors.items():
        print(f"{name:>12}: features move by {error:.1%} on average under maps of SL(2)")

    frozen = lift.eval().freeze()  # in training every call draws other elements
    print(f"the lift is one plain {type(frozen).__name__} with {frozen.out_channels} outputs")

    assert torch.allclose(again, g, atol=1e-10)
    assert errors["64 elements"] < errors["plain"]
    assert torch.allclose(frozen(photo), lift(photo), atol=1e-10)


if __name__ == "__main__":
    main()
