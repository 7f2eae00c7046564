"""A denoiser with one slider: tunable convolutions trained with the loss whose weights are the slider's.

Objective 1 is fidelity, the distance to the clean picture. Objective 2 wants edges stronger than they were. Both cannot be had, and
omega = (1 − s, s) says which is meant. The full run also writes `results/tunable_denoiser.html`, a page with the slider.
"""

import base64
import html
import io
import itertools
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from faltung.data import photo
from faltung.nn import Conv2d, MultiObjective, Tunable, TunableConv2d, TunableSequential
from faltung.tools import fold_tunable
from recipe import RESULTS, run, table

NOISE, EDGES, WIDTH, PATCH, BATCH = 0.1, 1.8, 24, 32, 16
SWEEP = [round(0.1 * n, 1) for n in range(11)]


class Residual(nn.Module):
    """The input and what the body adds to it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class TunableResidual(Tunable):
    """The same with a tunable body."""

    def __init__(self, body: TunableSequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor, omega: Tensor) -> Tensor:
        return x + self.body(x, omega)

    def folded(self, omega: Tensor) -> nn.Module:
        return Residual(self.body.folded(omega))


def layers(kind: Callable) -> list[nn.Module]:
    first, middle, last = kind(3, WIDTH, 3, padding=1), kind(WIDTH, WIDTH, 3, padding=1), kind(WIDTH, 3, 3, padding=1)
    return [first, nn.ReLU(), middle, nn.ReLU(), last]


def slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours, down and across."""
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def fidelity(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().flatten(1).mean(1)


def edges(prediction: Tensor, target: Tensor) -> Tensor:
    """How far the slopes are from those of the clean picture, made `EDGES` times as steep."""
    pairs = zip(slopes(prediction), slopes(target), strict=True)
    return sum((ours - EDGES * theirs).square().flatten(1).mean(1) for ours, theirs in pairs) / 2


OBJECTIVE = MultiObjective([fidelity, edges], scales=[1.0, 1.0])


def omega_of(s: float | Tensor) -> Tensor:
    s = torch.as_tensor(s, dtype=torch.float32)
    return torch.stack([1 - s, s], -1)


def drawn(picture: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noisy and clean patches."""
    rows = torch.randint(picture.shape[1] - PATCH, (BATCH,), generator=generator)
    columns = torch.randint(picture.shape[2] - PATCH, (BATCH,), generator=generator)
    clean = torch.stack([picture[:, r : r + PATCH, c : c + PATCH] for r, c in zip(rows, columns, strict=True)])
    return clean + NOISE * torch.randn(clean.shape, generator=generator), clean


def train(picture: Tensor, steps: int, fixed: float | None) -> nn.Module:
    """A tunable denoiser, or a plain one for a fixed place of the slider; the same patches for all."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    tunable = fixed is None
    model = (
        TunableResidual(TunableSequential(*layers(TunableConv2d)))
        if tunable
        else Residual(nn.Sequential(*layers(Conv2d)))
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        noisy, clean = drawn(picture, generator)
        # One place of the slider a step, uniform, and in every fourth step one of its ends.
        s = torch.rand((), generator=generator)
        end = torch.rand((), generator=generator) < 0.25
        s = s.round() if end else s
        omega = omega_of(fixed if fixed is not None else s)
        loss = OBJECTIVE(model(noisy, omega) if tunable else model(noisy), clean, omega)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def judged(model: Callable, clean: Tensor) -> tuple[float, float, Tensor]:
    """Both objectives, times 1,000, on the held-out picture under one fixed noise; and the result."""
    noise = NOISE * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    result = model(clean + noise)
    return 1e3 * fidelity(result, clean).item(), 1e3 * edges(result, clean).item(), result


def milliseconds(call: Callable) -> float:
    with torch.no_grad():
        call()
        times = []
        for _ in range(9):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return 1e3 * sorted(times)[4]


def main(quick: bool) -> str:
    whole = torch.from_numpy(photo().copy()).permute(2, 0, 1).float() / 255
    picture, held = whole[:, :, :280], whole[:, 60:220, 290:450][None]
    steps = 4 if quick else 1500
    model = train(picture, steps, None)
    specialists = {s: train(picture, steps, s) for s in (0.0, 0.5, 1.0)}
    lines, kept = [], []
    for s in SWEEP:
        first, second, result = judged(lambda x, s=s: model(x, omega_of(s)), held)
        ours = (1 - s) * first + s * second
        theirs = "—"
        if s in specialists:
            a, b, _ = judged(specialists[s], held)
            theirs = f"{(1 - s) * a + s * b:.3f}"
        lines.append([f"{s:.1f}", f"{first:.3f}", f"{second:.3f}", f"{ours:.3f}", theirs])
        kept.append((s, first, second, result))
    rising = all(a[1] < b[1] for a, b in itertools.pairwise(kept))
    falling = all(a[2] > b[2] for a, b in itertools.pairwise(kept))
    middle = judged(specialists[0.5], held)
    ends = [(1 - s) * middle[0] + s * middle[1] for s in (0.0, 1.0)]
    folded = fold_tunable(model, omega_of(0.5))
    cost = {
        "tunable": milliseconds(lambda: model(held, omega_of(0.5))), "folded": milliseconds(lambda: folded(held)),
        "plain": milliseconds(lambda: specialists[0.5](held)),
    }  # fmt: skip
    if not quick:
        noisy = held + NOISE * torch.randn(held.shape, generator=torch.Generator().manual_seed(2))
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "tunable_denoiser.html").write_text(page(held, noisy, kept))
    monotone = "Both curves are monotone over the whole slider" if rising and falling else "The curves are not monotone"
    words = {True: "reproduced: where a plain net was trained for the same s, the tunable one is within 10 % of it"}
    met = rising and falling and all(float(line[3]) <= 1.1 * float(line[4]) for line in lines if line[4] != "—")
    return f"""# A denoiser with a slider

Three tunable convolutions ({WIDTH} channels, 3 × 3, residual), {steps} steps on {PATCH} × {PATCH} patches of one part of a
photograph with noise of {NOISE}, judged on a part that was held out. `omega = (1 − s, s)` weighs the kernels and, in training, the
objectives: squared error ("fidelity") and squared error of slopes that are to be {EDGES} times as steep ("edges"). Both are given
times 1,000. "own net" is a plain net of the same size that was trained for this one s.

{table(["s", "fidelity", "edges", "weighted, tunable", "weighted, own net"], lines)}

{monotone}. The net trained for s = 0.5 alone has {ends[0]:.3f} and {ends[1]:.3f} where s is 0 and 1 and cannot be moved.
One call on {held.shape[-2]} × {held.shape[-1]} pixels takes {cost["tunable"]:.1f} ms, folded for one omega {cost["folded"]:.1f} ms,
the plain net {cost["plain"]:.1f} ms. The page [tunable_denoiser.html](tunable_denoiser.html) shows the results with a slider.

The paper (Maggioni et al. 2023) claims results over the whole range of omega at virtually no extra cost. At this scale
that is {words.get(met, "not reproduced")}."""


def encoded(image: Tensor) -> str:
    """A picture as the text of a JPEG."""
    from PIL import Image

    pixels = (image[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stored.getvalue()).decode()


def page(clean: Tensor, noisy: Tensor, kept: list[tuple[float, float, float, Tensor]]) -> str:
    """One file with a slider over the results, which needs no network."""
    steps = [
        {"s": s, "image": encoded(result), "fidelity": round(a, 2), "edges": round(b, 2)} for s, a, b, result in kept
    ]
    middle, side = steps[len(steps) // 2], clean.shape[-1]
    said = f"s = {middle['s']}: fidelity {middle['fidelity']}, edges {middle['edges']}"
    names = {"clean": "The photograph", "noisy": f"with noise of {NOISE}"}
    pictures = "".join(
        f'<figure><img src="{encoded(image)}" width="{2 * side}" alt="{html.escape(names[name])}">'
        f"<figcaption>{html.escape(names[name])}</figcaption></figure>"
        for name, image in (("clean", clean), ("noisy", noisy))
    )
    rows = "".join(
        f'<tr><th scope="row">{one["s"]}</th><td>{one["fidelity"]}</td><td>{one["edges"]}</td></tr>' for one in steps
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A denoiser with a slider</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }}
.pictures {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: 0; flex: 1 1 16rem; }}
img {{ width: 100%; height: auto; image-rendering: pixelated; }}
input {{ width: 100%; min-height: 2.5rem; }}
.ends {{ display: flex; justify-content: space-between; }}
table {{ border-collapse: collapse; }} th, td {{ padding: 0.1rem 1rem 0.1rem 0; text-align: right; }}
</style>
</head>
<body>
<main>
<h1>A denoiser with a slider</h1>
<p>One net, trained once. The slider sets omega = (1 − s, s), which blends the kernels of its tunable convolutions: at the left
fidelity to the clean picture, at the right edges {EDGES} times as steep.</p>
<label for="s">s, from fidelity to edges</label>
<input id="s" type="range" min="0" max="{len(steps) - 1}" step="1" value="{len(steps) // 2}" aria-describedby="said">
<div class="ends" aria-hidden="true"><span>fidelity</span><span>edges</span></div>
<p><output id="said" for="s" aria-live="polite">{said}</output></p>
<div class="pictures">
<figure><img id="result" src="{middle["image"]}" width="{2 * side}" alt="The denoised picture at s = {middle["s"]}">
<figcaption>denoised</figcaption></figure>{pictures}
</div>
<h2>In numbers</h2>
<p>Squared errors times 1,000: less is better.</p>
<table><thead><tr><th scope="col">s</th><th scope="col">fidelity</th><th scope="col">edges</th></tr></thead>
<tbody>{rows}</tbody></table>
</main>
<script>
const steps = {json.dumps(steps)};
const slider = document.getElementById("s"), result = document.getElementById("result"), said = document.getElementById("said");
slider.addEventListener("input", () => {{
  const one = steps[slider.valueAsNumber];
  result.src = one.image;
  result.alt = "The denoised picture at s = " + one.s;
  slider.setAttribute("aria-valuetext", "s = " + one.s);
  said.textContent = "s = " + one.s + ": fidelity " + one.fidelity + ", edges " + one.edges;
}});
</script>
</body>
</html>
"""


if __name__ == "__main__":
    run("tunable_denoiser", main)
