"""Norms of convolutions and scattering transforms beside their peers, called in turns; and how far bounds are from the truth.

    python benchmarks/certify.py --threads 1     about two minutes
    python benchmarks/certify.py --quick         smaller kernels, half a minute; nothing is written

Writes benchmarks/results/certify.md. Peers that are not installed are left out; lip4conv has no package: its folder on PYTHONPATH
is enough. What it does on a grid needs a GPU there, so the published iteration is written out here in five lines.
"""

import sys
import warnings
from importlib.util import find_spec

import timing

THREADS = timing.settle()

import numpy as np
import scipy.special
import torch

from faltung.certify import Scattering1d, Scattering2d, Scattering3d, lipschitz, spectral_norm
from faltung.filters import Symbol
from timing import interleaved, rows, span

QUICK = "--quick" in sys.argv
warnings.simplefilter("ignore")
torch.set_num_threads(THREADS)


def ratio(mine: float, theirs: float) -> str:
    return f"{theirs / mine:.3g}×"


def gram_on_grid(weight: torch.Tensor, n: int, steps: int = 5) -> float:
    """The published Gram iteration of a circular convolution on one grid, all its matrices to the end."""
    grid = torch.fft.rfft2(weight, s=(n, n)).permute(2, 3, 0, 1).flatten(0, 1)
    log = torch.zeros(len(grid))
    for _ in range(steps):
        size = torch.linalg.matrix_norm(grid)
        grid, log = grid / size[:, None, None], 2 * (log + size.log())
        grid = grid.mH @ grid
    return float((torch.linalg.matrix_norm(grid) ** 2.0**-steps * (log * 2.0**-steps).exp()).max())


def orthogonium_svd(weight: torch.Tensor, n: int) -> float:
    from orthogonium.layers.conv.AOC.fast_block_ortho_conv import conv_singular_values_numpy

    return float(conv_singular_values_numpy(weight.numpy()[None], (n, n))[1])


def lip4conv_taps(weight: torch.Tensor) -> float:
    import bounds

    return float(bounds.compute_delattre2024(weight, n_iter=4, return_time=False))


def norms() -> str:
    """One size of the input (circular, 12 × 12) and every size; the truth is a fine grid of singular values."""
    lines = []
    for channels, k in (
        ((16, 3), (64, 3), (16, 7)) if QUICK else ((16, 3), (64, 3), (64, 5), (128, 3), (256, 3), (16, 7))
    ):
        weight = torch.randn(channels, channels, k, k, generator=torch.Generator().manual_seed(0))
        circular = {"padding": k // 2, "padding_mode": "circular"}
        here = float(Symbol(weight.numpy()).norm(12))
        fine = spectral_norm(weight, rtol=1e-3).lower
        calls = {
            "ours, 12 × 12": lambda w=weight, c=circular: spectral_norm(w, 12, **c).upper,
            "Gram iteration, 12 × 12": lambda w=weight: gram_on_grid(w, 12),
            "ours, every size": lambda w=weight: spectral_norm(w).upper,
        }
        if find_spec("orthogonium"):
            calls["orthogonium (SVD), 12 × 12"] = lambda w=weight: orthogonium_svd(w, 12)
        if find_spec("bounds") and channels <= 128:
            calls["lip4conv (taps), every size"] = lambda w=weight: lip4conv_taps(w)
        times, found = interleaved(calls)
        for label, seconds in times.items():
            every = "every" in label
            own = times["ours, every size" if every else "ours, 12 × 12"]
            lines.append(
                (
                    f"{channels}×{channels}×{k}×{k}",
                    label,
                    span(seconds),
                    ratio(own, seconds),
                    f"{found[label] / (fine if every else here):.5f}",
                )
            )
    return "## Norm of a convolution\n\n" + rows(("kernel", "", "time", "to ours", "bound / truth"), lines)


def networks() -> str:
    """A whole network's bound beside the largest Jacobian that is met."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, stride=2, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(64, 10),
    ).eval()  # fmt: skip
    x = torch.randn(8, 1, 8, 8)
    calls = {"ours (guaranteed from above)": lambda: float(lipschitz(net, x))}
    if find_spec("deel"):
        from deel.torchlip.utils import evaluate_lip_const

        calls["deel-torchlip (largest Jacobian of the batch)"] = lambda: float(
            evaluate_lip_const(net, x, "jacobian_norm")
        )
    times, found = interleaved(calls)
    lines = [(label, span(seconds), f"{found[label]:.4f}") for label, seconds in times.items()]
    return "## Lipschitz constant of a network\n\n" + rows(("", "time", "value"), lines)


def scattering() -> str:
    """Ours and kymatio's, float32, order 2, no gradients: images with 8 angles, signals in time, volumes of degrees up to 3."""
    if not hasattr(scipy.special, "sph_harm"):  # kymatio takes a name that newer SciPys lack
        scipy.special.sph_harm = lambda m, l, azimuth, polar: scipy.special.sph_harm_y(l, m, polar, azimuth)
    from kymatio.torch import HarmonicScattering3D, Scattering1D, Scattering2D

    cases = []
    for J, n, batch in ((2, 32, 16), (3, 64, 4)) if QUICK else ((2, 32, 64), (3, 64, 16), (3, 128, 4), (4, 256, 1)):
        cases.append((f"{batch}×3×{n}×{n}, J = {J}", (batch, 3, n, n), Scattering2D(J, (n, n)), Scattering2d(J)))
    for J, n, batch in ((6, 2048, 8),) if QUICK else ((6, 2048, 32), (8, 16384, 4)):
        cases.append((f"{batch}×{n}, J = {J}, Q = 8", (batch, n), Scattering1D(J, n, 8), Scattering1d(J, 8)))
    for J, n, batch in ((2, 32, 1),) if QUICK else ((2, 32, 2), (2, 64, 1)):
        theirs = HarmonicScattering3D(J=J, shape=(n, n, n), L=3)
        cases.append((f"{batch}×{n}×{n}×{n}, J = {J}", (batch, n, n, n), theirs, Scattering3d(J)))
    lines = []
    for label, shape, theirs, ours in cases:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        times, found = interleaved({"ours": lambda x=x, s=ours: s(x), "kymatio": lambda x=x, s=theirs: s(x)})
        away = "other scale"  # of one axis, kymatio 0.3 takes means over aliases for sums
        if len(shape) > 2:
            away = f"{(found['ours'] - found['kymatio']).abs().max() / found['kymatio'].abs().max():.1e}"
        lines.append((label, span(times["ours"]), span(times["kymatio"]), ratio(times["ours"], times["kymatio"]), away))
    return "## Scattering\n\n" + rows(("signals", "ours", "kymatio", "to ours", "difference"), lines)


def main() -> None:
    sections = [f"# Certificates\n\n`python benchmarks/certify.py --threads {THREADS}`", norms(), networks()]
    if find_spec("kymatio"):
        sections.append(scattering())
    text = "\n\n".join(sections) + "\n"
    print(text)
    if not QUICK:
        (timing.RESULTS / "certify.md").write_text(text)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
