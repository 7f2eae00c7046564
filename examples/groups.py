"""A photo and its turned copy: what a plain layer makes of both, and what a group convolution makes of them."""

import numpy as np
import torch

from faltung import data, nn
from faltung.nn.symmetry import act, grid_group


def main() -> None:
    torch.manual_seed(0)
    grey = torch.from_numpy(data.photo().mean(axis=2).astype(np.float64))[None, None, :120, :160] / 255
    group = grid_group("p4m", 2)
    fibre = group.fibre("regular")

    lift = nn.GroupConv2d(1, 4, 5, "p4m", "trivial", padding=2, dtype=torch.float64)
    second = nn.GroupConv2d(4, 4, 3, "p4m", padding=1, dtype=torch.float64)
    pool = nn.GroupPool2d(4, "p4m")
    plain = torch.nn.Conv2d(1, 4, 5, padding=2, dtype=torch.float64)
    print(f"p4m: {second.weight.numel()} weights are a kernel of {second.kernel().numel()} entries")

    largest = {"plain": 0.0, "group": 0.0, "pooled": 0.0}
    for g in range(group.order):
        turned = act(grey, group, g)
        features = second(torch.relu(lift(grey)))
        again = second(torch.relu(lift(turned)))
        gaps = {
            "plain": plain(turned) - act(plain(grey), group, g),
            "group": again - act(features, group, g, fibre),
            "pooled": pool(again) - act(pool(features), group, g),
        }
        for name, gap in gaps.items():
            largest[name] = max(largest[name], float(gap.detach().abs().max()))
    for name, gap in largest.items():
        print(f"{name:>7}: turned first or last, results differ by at most {gap:.1e}")

    frozen = second.freeze()
    same = float((frozen(features) - second(features)).detach().abs().max())
    print(f"frozen to {type(frozen).__name__}: off by {same:.1e}")

    down = nn.GroupDownsample2d(4, "p4m", "p4", dtype=torch.float64)
    print(f"mirrors averaged away: {features.shape[1]} → {down(features).shape[1]} channels")

    assert largest["group"] < 1e-12
    assert largest["pooled"] < 1e-12
    assert largest["plain"] > 1e-2
    assert same < 1e-12


if __name__ == "__main__":
    main()
