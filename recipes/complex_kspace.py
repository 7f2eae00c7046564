"""Images from undersampled k-space: a complex network beside real ones of as many real parameters."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from faltung.nn import Conv2d, complex
from recipe import run, table

SIZE, KEPT, CENTRE = 32, 0.33, 6


def phantoms(count: int, seed: int) -> Tensor:
    """Heads of ellipses with a smooth phase, as coils see them: complex (count, 1, SIZE, SIZE)."""
    g = torch.Generator().manual_seed(seed)

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, 1, 1, generator=g)

    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    image = torch.zeros(count, SIZE, SIZE)
    for n in range(6):
        far, thin = (0.0, (0.6, 0.9)) if n == 0 else (0.5, (0.08, 0.35))
        cy, cx, ry, rx = drawn(-far, far), drawn(-far, far), drawn(*thin), drawn(*thin)
        turn = drawn(0, torch.pi)
        a, b = (y - cy) * turn.cos() + (x - cx) * turn.sin(), (x - cx) * turn.cos() - (y - cy) * turn.sin()
        image += (((a / ry) ** 2 + (b / rx) ** 2) < 1) * (1.0 if n == 0 else drawn(-0.6, 0.8))
    phase = drawn(-3, 3) + drawn(-2, 2) * y + drawn(-2, 2) * x + drawn(-1.5, 1.5) * x * y
    return torch.polar(image.abs(), phase).unsqueeze(1)


def undersampled(images: Tensor, seed: int) -> Tensor:
    """The images whose k-space lines are kept where a random mask of this seed says, zero elsewhere; noise is added."""
    g = torch.Generator().manual_seed(seed)
    lines = torch.rand(len(images), 1, SIZE, 1, generator=g) < KEPT
    lines[:, :, SIZE // 2 - CENTRE // 2 : SIZE // 2 + CENTRE // 2] = True
    spectrum = torch.fft.fftshift(torch.fft.fft2(images, norm="ortho"), (-2, -1))
    noise = 0.02 * torch.randn(spectrum.shape, dtype=torch.complex64, generator=g)
    return torch.fft.ifft2(torch.fft.ifftshift((spectrum + noise) * lines, (-2, -1)), norm="ortho")


class Parts(nn.Module):
    """A real network of the two parts as two channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = body(Conv2d, nn.ReLU, 2, width)

    def forward(self, z: Tensor) -> Tensor:
        y = self.net(torch.cat([z.real, z.imag], 1))
        return torch.complex(y[:, :1], y[:, 1:])


class Twins(nn.Module):
    """A real network for the real part and one for the imaginary part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(body(Conv2d, nn.ReLU, 1, width) for _ in range(2))

    def forward(self, z: Tensor) -> Tensor:
        return torch.complex(self.nets[0](z.real), self.nets[1](z.imag))


def body(conv, act, channels: int, width: int) -> nn.Sequential:
    layers = [conv(channels, width, 5, padding=2), act()]
    for _ in range(2):
        layers += [conv(width, width, 3, padding=1), act()]
    last = conv(width, channels, 5, padding=2)
    nn.init.zeros_(last.weight)  # every network starts as the identity, whatever its layers are drawn from
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def numbers(net: nn.Module) -> int:
    """Real numbers that are learnt."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in net.parameters())


def widest(make, budget: int) -> nn.Module:
    """The network of the largest width within the budget."""
    width = next(w for w in range(1, 200) if numbers(make(w + 1)) > budget)
    return make(width)


def error(net: nn.Module, x: Tensor, wanted: Tensor) -> Tensor:
    """Relative error of the complex images; every network learns the difference to its input."""
    return (x + net(x) - wanted).abs().square().sum() / wanted.abs().square().sum()


def main(quick: bool) -> str:
    steps, count, seeds = (8, 32, 1) if quick else (400, 1024, 2)
    images, held = phantoms(count, 0), phantoms(count // 4, 1)
    x, test = undersampled(images, 2), undersampled(held, 3)
    kinds = {
        "CNN, parts as channels": Parts,
        "CNN×2, a network for each part": Twins,
        "complex, CReLU": lambda w: body(complex.Conv2d, complex.CReLU, 1, w),
        "complex, cardioid": lambda w: body(complex.Conv2d, complex.Cardioid, 1, w),
    }
    lines, scores = [], {}
    for name, make in kinds.items():
        found = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            net = widest(make, 12_000)
            optimizer = torch.optim.Adam(net.parameters(), 2e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            for _ in range(steps):
                at = torch.randint(count, (16,))
                loss = error(net, x[at], images[at])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            with torch.no_grad():
                found.append(error(net, test, held).sqrt().item())
        scores[name] = sum(found) / seeds
        lines.append([name, numbers(net), ", ".join(f"{100 * e:.2f} %" for e in found)])
    zero = ((test - held).abs().square().sum() / held.abs().square().sum()).sqrt().item()
    real = min(e for name, e in scores.items() if name.startswith("CNN"))
    ours = min(e for name, e in scores.items() if name.startswith("complex"))
    verdict = (
        f"Reproduced at this scale: {100 * ours:.2f} % beside {100 * real:.2f} %."
        if ours < real
        else f"Not reproduced at this scale: {100 * ours:.2f} % beside {100 * real:.2f} % for the better real network."
    )
    return f"""# Complex networks for undersampled k-space

{count} phantoms of ellipses with a smooth phase, {SIZE} × {SIZE}, of whose k-space lines about {100 * KEPT:.0f} % and the
centre are kept; four layers (5, 3, 3, 5 taps) learn the difference to the zero-filled image, {steps} steps of Adam, batches of 16,
widths chosen for as many real numbers. Relative error of the complex image on {count // 4} other phantoms, {seeds} seed(s).

{table(("network", "real parameters", "relative error"), [["zero-filled input", 0, f"{100 * zero:.2f} %"], *lines])}

The paper (Chatterjee et al., 2023) claims that complex networks beat both CNN and CNN×2 on seven models and two tasks of brain MRI.
{verdict}"""


if __name__ == "__main__":
    run("complex_kspace", main)
