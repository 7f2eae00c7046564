"""Two tasks and one cue: what a kernel of each sample's own buys at the same number of multiplications.

Each picture is to be blurred or to have its edges found. Which of the two, only a cue tells that is hidden in noise: the mean of a
second channel over the whole picture. A window of the net's own size does not show it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from faltung.nn import CondConv, CondConv2d, Conv2d
from recipe import run, table

SIZE, CUE, BATCH, WIDTH, TAPS = 32, 0.12, 32, 8, 5
BLUR = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0])[:, None] * torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0]) / 81
LAPLACE = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]) / 20**0.5


def drawn(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (noise, cue), what is to come out, and which task it is."""
    picture = torch.randn(count, 1, SIZE, SIZE, generator=generator)
    task = torch.randint(2, (count,), generator=generator)
    cue = torch.randn(count, 1, SIZE, SIZE, generator=generator) + CUE * (2 * task - 1).reshape(-1, 1, 1, 1)
    blurred = nn.functional.conv2d(picture, BLUR[None, None] / BLUR.norm(), padding=2)
    edges = nn.functional.conv2d(picture, LAPLACE[None, None], padding=1)
    return torch.cat([picture, cue], 1), torch.where(task.reshape(-1, 1, 1, 1) == 1, edges, blurred), task


def static(width: int) -> nn.Module:
    return nn.Sequential(Conv2d(2, width, TAPS, padding=2), nn.ReLU(), Conv2d(width, 1, TAPS, padding=2))


def conditional(experts: int, routing: str) -> nn.Module:
    settings = {"padding": 2, "num_experts": experts, "routing": routing}
    return nn.Sequential(CondConv2d(2, WIDTH, TAPS, **settings), nn.ReLU(), CondConv2d(WIDTH, 1, TAPS, **settings))


def train(make: Callable[[], nn.Module], steps: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = make()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x, y, _ = drawn(BATCH, generator)
        loss = (model(x) - y).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model


def multiplications(width: int, experts: int = 0) -> float:
    """For each pixel; mixing and routing included, shared among the pixels of a picture."""
    kernels = TAPS**2 * (2 * width + width)
    return kernels + experts * (kernels + 2 + width) / SIZE**2


@torch.no_grad()
def main(quick: bool) -> str:
    steps, seeds = (6, 1) if quick else (600, 3)
    x, y, task = drawn(64 if quick else 512, torch.Generator().manual_seed(99))
    kinds = {
        f"static, {WIDTH} channels": (lambda: static(WIDTH), multiplications(WIDTH)),
        f"static, {4 * WIDTH} channels": (lambda: static(4 * WIDTH), multiplications(4 * WIDTH)),
        "CondConv, 2 experts": (lambda: conditional(2, "gap-sigmoid"), multiplications(WIDTH, 2)),
        "CondConv, 4 experts": (lambda: conditional(4, "gap-sigmoid"), multiplications(WIDTH, 4)),
        "CondConv, 4 experts, softmax": (lambda: conditional(4, "softmax"), multiplications(WIDTH, 4)),
    }
    lines, errors = [], {}
    for name, (make, work) in kinds.items():
        with torch.enable_grad():
            models = [train(make, steps, seed) for seed in range(seeds)]
        found = sorted(((model.eval()(x) - y).square().mean() / y.square().mean()).item() for model in models)
        errors[name] = found[len(found) // 2]
        apart = "—"
        if isinstance(models[0][0], CondConv):
            weights = models[0][0].routing(x)
            apart = f"{(weights[task == 1].mean(0) - weights[task == 0].mean(0)).abs().max().item():.2f}"
        parameters = sum(p.numel() for p in models[0].parameters())
        lines.append(
            [name, parameters, f"{work:.0f}", f"{errors[name]:.3f}", f"{found[0]:.3f} – {found[-1]:.3f}", apart]
        )
    plain, best = errors[f"static, {WIDTH} channels"], errors["CondConv, 4 experts"]
    wide = errors[f"static, {4 * WIDTH} channels"]
    verdict = "reproduced" if best < min(0.8 * plain, wide) else "not reproduced"
    head = ["net", "parameters", "multiplications a pixel", "error (median)", "range", "routing apart"]
    return f"""# CondConv where a global cue decides

Two layers of {TAPS} × {TAPS} taps, {steps} steps of {BATCH} pictures of {SIZE} × {SIZE} noise, {seeds} seeds. The target is the
blurred picture or its edges; which, the mean of a second channel tells, ±{CUE} under noise of 1: {CUE * SIZE:.1f} standard
deviations over the picture. Error: squared, relative to the target's, on {len(x)} new pictures; 1 is no better than nothing, and
about 1/2 is to be had without the cue. "routing apart": how far the mean weight of some expert differs between the two tasks.

{table(head, lines)}

The paper (Yang et al. 2019) claims better results at nearly the same number of multiplications: EfficientNet-B0 on ImageNet 77.3 %
at 391M, with 4 experts 77.8 % at 402M, with 8 experts 78.3 % at 413M. At this toy scale the claim is {verdict}: {best:.3f}
against {plain:.3f} at equal multiplications, and {wide:.3f} for a static net of four times as many."""


if __name__ == "__main__":
    run("condconv_domains", main)
