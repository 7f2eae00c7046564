"""Super-resolution by 1×1 convolutions and shifts against 3×3 convolutions of as many products: PSNR on a photo.

The paper trains on 800 large images for days; here a few hundred steps see patches of two thirds of one photo and of random
textures, and the last third of the photo is the test.
"""

import math
import time

import torch
from torch import Tensor
from torch.nn import functional

from faltung import data, nn
from recipe import run, table

PATCH, BATCH = 24, 16


def textures(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Random stripes and edges in [0, 1] (count, 1, size, size)."""
    place = torch.arange(size, dtype=torch.float32)
    drawn = torch.rand(count, 4, 1, 1, generator=generator)
    angle, wave, phase, mix = drawn.unbind(1)
    along = torch.cos(math.pi * angle) * place[:, None] + torch.sin(math.pi * angle) * place
    waves = 0.5 + 0.5 * torch.sin(2 * math.pi * (along / (3 + 12 * wave) + phase))
    return torch.lerp(waves, (waves > 0.5).float(), mix).unsqueeze(1)


def patches(photo: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of small images and what they should become, three quarters of them from the photo."""
    size = 2 * PATCH
    many = BATCH * 3 // 4
    rows = torch.randint(photo.shape[0] - size, (many,), generator=generator)
    columns = torch.randint(photo.shape[1] - size, (many,), generator=generator)
    seen = [photo[r : r + size, c : c + size] for r, c in zip(rows.tolist(), columns.tolist(), strict=True)]
    fine = torch.cat((torch.stack(seen).unsqueeze(1), textures(BATCH - many, size, generator)))
    return functional.avg_pool2d(fine, 2), fine


class Residual(torch.nn.Module):
    """A residual block of two 3×3 convolutions."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x).relu())


class Plain(torch.nn.Module):
    """The network with 3×3 convolutions: blocks on coarse positions, a sub-pixel convolution at the end."""

    def __init__(self, features: int, blocks: int) -> None:
        super().__init__()
        body = (Residual(features) for _ in range(blocks))
        self.layers = torch.nn.Sequential(
            nn.Conv2d(1, features, 3, padding=1), *body, nn.SubPixelConv2d(features, 1, 3, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="bilinear") + self.layers(x)


def products(network: torch.nn.Module) -> float:
    """Products for one sample of the small image, counted where they happen."""
    count, size = 0, 16

    def seen(layer: torch.nn.Module, inputs: tuple, result: Tensor) -> None:
        nonlocal count
        positions = result[0, 0].numel() if isinstance(layer, nn.Conv) else inputs[0][0, 0].numel()
        count += layer.weight.numel() * positions

    hooks = [m.register_forward_hook(seen) for m in network.modules() if isinstance(m, (nn.Conv, nn.SubPixelConv))]
    with torch.no_grad():
        network(torch.zeros(1, 1, size, size))
    for hook in hooks:
        hook.remove()
    return count / size**2


def psnr(got: Tensor, wanted: Tensor) -> float:
    """Decibels, without a margin of four pixels."""
    error = (got.clamp(0, 1) - wanted)[..., 4:-4, 4:-4].square().mean()
    return -10 * math.log10(error.item())


def trained(network: torch.nn.Module, photo: Tensor, steps: int) -> None:
    """Adam on the mean absolute error, the rate falling to nothing."""
    generator = torch.Generator().manual_seed(1)
    adam = torch.optim.Adam(network.parameters(), 1e-3, betas=(0.9, 0.99))
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        coarse, fine = patches(photo, generator)
        loss = functional.l1_loss(network(coarse), fine)
        adam.zero_grad()
        loss.backward()
        adam.step()
        falling.step()


def main(quick: bool) -> str:
    photo = torch.tensor(data.photo()).float().mean(2) / 255
    cut = photo.shape[1] * 2 // 3
    train, test = photo[:, :cut], photo[:, cut : cut + (photo.shape[1] - cut) // 2 * 2]
    fine = test[None, None]
    coarse, wanted = functional.avg_pool2d(fine, 2), fine
    steps = 5 if quick else 600
    still = {"features": 32, "blocks": 4, "channels": 1}
    networks = {
        "shifts (1×1 convolutions)": lambda: nn.ShiftSuperResolution2d(**still),
        "the same without shifts": lambda: nn.ShiftSuperResolution2d(**still, offsets=[(0, 0)]),
        "3×3 convolutions": lambda: Plain(12, 6),
        "3×3 convolutions, wide": lambda: Plain(28, 1),
    }
    enlarged = {mode: functional.interpolate(coarse, scale_factor=2, mode=mode) for mode in ("bilinear", "bicubic")}
    lines = [[mode, "", "", f"{psnr(image, wanted):.2f}", ""] for mode, image in enlarged.items()]
    for name, make in networks.items():
        torch.manual_seed(0)
        network, start = make(), time.perf_counter()
        trained(network, train, steps)
        with torch.no_grad():
            found = psnr(network(coarse), wanted)
        count = sum(p.numel() for p in network.parameters())
        seconds = f"{time.perf_counter() - start:.0f} s"
        lines.append([name, f"{products(network) / 1000:.1f} k", count, f"{found:.2f}", seconds])
    figures = {line[0]: float(line[3]) for line in lines}
    shifts, plain = figures["shifts (1×1 convolutions)"], max(v for n, v in figures.items() if n.startswith("3×3"))
    verdict = "level with or above" if shifts >= plain - 0.05 else f"{plain - shifts:.2f} dB below"
    return f"""# Super-resolution by shifts

{__doc__.partition(chr(10))[0]} Factor 2, {steps} steps of {BATCH} patches of {PATCH}², seed 0, grey values of
`faltung.data.photo()`.

{table(("network", "products per coarse pixel", "parameters", "PSNR in dB", "training"), lines)}

The paper claims results on par with light networks of 3×3 convolutions at far fewer products. Here, at equal products, the network
of shifts is {verdict} the better one of 3×3 convolutions, and without its shifts, where every result sees only what
enlarging brings, it gives {figures["the same without shifts"]:.2f} dB. One photo and {steps} steps say nothing about the
paper's benchmarks.
"""


if __name__ == "__main__":
    run("shift_superres", main)
