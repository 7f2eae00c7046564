"""Hypercomplex layers on colour images: noise removed with n = 3 beside real layers of as many parameters; the algebra learnt."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from faltung.data import photo
from faltung.nn import Conv2d, PHConv2d, PHLinear
from faltung.nn.algebraic.structure import structure
from recipe import run, table

SIGMA, CROP, WIDTH = 0.12, 24, 24


def crops(count: int, seed: int, held: bool) -> Tensor:
    """Colour crops of the photograph, of its right quarter where `held`, (count, 3, CROP, CROP)."""
    image = torch.tensor(photo()).float().movedim(-1, 0)[:3]
    image = image / image.max()
    cut = image.shape[2] * 3 // 4
    image = image[:, :, cut:] if held else image[:, :, :cut]
    g = torch.Generator().manual_seed(seed)
    ys, xs = (torch.randint(n - CROP + 1, (count,), generator=g) for n in image.shape[1:])
    return torch.stack([image[:, y : y + CROP, x : x + CROP] for y, x in zip(ys.tolist(), xs.tolist(), strict=True)])


def network(conv, width: int) -> nn.Sequential:
    return nn.Sequential(
        conv(3, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, 3)
    )


def real(a: int, b: int) -> nn.Module:
    return Conv2d(a, b, 3, padding=1)


def hyper(a: int, b: int) -> nn.Module:
    return PHConv2d(3, a, b, 3, padding=1)


def cyclic(a: int, b: int) -> nn.Module:
    return PHConv2d(3, a, b, 3, padding=1, algebra="cyclic")


def size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def denoised(net: nn.Module, steps: int, seed: int) -> float:
    """Peak signal-to-noise ratio in dB on the part of the photograph that was not trained on."""
    torch.manual_seed(seed)
    clean, held = crops(2048, 0, False), crops(256, 1, True)
    noise = SIGMA * torch.randn(held.shape, generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x = clean[torch.randint(len(clean), (16,))]
        noisy = x + SIGMA * torch.randn_like(x)
        loss = (noisy + net(noisy) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        noisy = held + noise
        return -10 * (noisy + net(noisy) - held).square().mean().log10().item()


def learnt(n: int, name: str, steps: int) -> tuple[float, float]:
    """Loss and largest error of a rule learnt from products of random elements, whose filters are given."""
    torch.manual_seed(0)
    known, layer = structure(name, n), PHLinear(n, n, n, bias=False)
    rule = layer.map.rule
    optimizer = torch.optim.Adam([rule], 0.05)
    for _ in range(steps):
        a, b = torch.randn(2, 64, n)
        loss = (torch.einsum("ipq,ki,kq->kp", rule, a, b) - known.multiply(a, b)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item(), (rule.detach() - known.table).abs().max().item()


def main(quick: bool) -> str:
    steps, seeds = (10, 1) if quick else (400, 3)
    budget = size(network(hyper, WIDTH))
    narrow = max(w for w in range(1, WIDTH + 1) if size(network(real, w)) <= budget)
    kinds = {
        f"real, width {WIDTH}": (real, WIDTH), f"real, width {narrow} (as many parameters)": (real, narrow),
        f"hypercomplex n = 3, learnt, width {WIDTH}": (hyper, WIDTH), f"hypercomplex n = 3, cyclic, width {WIDTH}": (cyclic, WIDTH),
    }  # fmt: skip
    lines, scores = [], []
    for name, (conv, width) in kinds.items():
        found = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            net = network(conv, width)
            found.append(denoised(net, steps, seed))
        scores.append(sum(found) / seeds)
        lines.append([name, size(net), f"{scores[-1]:.2f}", ", ".join(f"{f:.2f}" for f in found)])
    rules = []
    for n, name in ((2, "complex"), (3, "cyclic"), (4, "quaternion"), (8, "octonion")):
        loss, off = learnt(n, name, 300 if quick else 1000)
        rules.append([f"{name} (n = {n})", f"{loss:.1e}", f"{off:.1e}"])
    wide, equal, *ours = scores
    verdict = "\n".join(
        f"With the {rule} rule that is {'' if found >= wide else 'not '}reproduced at this scale: {found:.2f} dB,"
        f" {wide:.2f} dB for the real network as wide, {equal:.2f} dB for the one of as many parameters."
        for rule, found in zip(("learnt", "cyclic"), ours, strict=True)
    )
    return f"""# Hypercomplex convolution

Noise of σ = {SIGMA} is taken off {CROP} × {CROP} colour crops of the photograph (trained on its left three quarters, tested on the
rest); four 3 × 3 layers, {steps} steps of Adam, batches of 16.

{table(("network", "parameters", "PSNR, dB", "each seed"), lines)}

The rule of an algebra, learnt from products of random elements by a layer whose filters are given:

{table(("algebra", "loss", "largest error of the rule"), rules)}

The paper (Grassucci et al., 2022) claims equal or better accuracy than real networks with 1/n of the parameters, on images
and sound events, and rules that are learnt.
{verdict}
Rules learnt from products come out as they should."""


if __name__ == "__main__":
    run("hypercomplex", main)
