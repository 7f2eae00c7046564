"""Convolution on the sphere and its transforms beside torch-harmonics and ducc0, interleaved in one process.

    python benchmarks/sphere.py          writes benchmarks/results/sphere.md, about a minute
    python benchmarks/sphere.py --quick  the smallest sizes, nothing is written

The same weights (real ones: with complex ones torch-harmonics' layer is not equivariant), the same grid, the same result within
rounding; a training step is forward and backward for weights and input. ducc0 takes one thread and works in double precision.
"""

import argparse
import warnings

import timing

timing.settle()

import numpy as np
import torch

from faltung import nn
from faltung.nn.sphere import SpinSHT

SIZES = ((8, 16, (32, 32)), (8, 16, (32, 64)), (8, 32, (64, 64)), (8, 32, (64, 128)), (2, 32, (128, 256)))


def step(layer: torch.nn.Module, x: torch.Tensor) -> object:
    """One call with its gradients."""
    x = x.clone().requires_grad_()

    def call() -> torch.Tensor:
        y = layer(x)
        y.square().mean().backward()
        return y.detach()

    return call


def conv_rows(quick: bool) -> list[list[str]]:
    import torch_harmonics as peer

    lines = []
    for batch, channels, size in SIZES[: 1 if quick else None]:
        ours = nn.SphericalConv(channels, channels, (0,), (0,), size, bias=False)
        theirs = peer.SpectralConvS2(size, size, channels, channels)
        with torch.no_grad():
            theirs.weight.copy_(ours.weight[:, 0, :, 0, : theirs.lmax].permute(1, 0, 2)[None])
        x = torch.randn(batch, channels, *size)
        what = f"{batch} × {channels} → {channels} channels, {size[0]} × {size[1]}, degree {ours.degree}"
        with torch.no_grad():
            still, results = timing.interleaved({"ours": lambda f=ours, x=x: f(x), "peer": lambda f=theirs, x=x: f(x)})
        assert (results["ours"] - results["peer"]).abs().max() < 1e-4
        steps = {"ours": step(ours, x), "peer": step(theirs, x)}
        for call in steps.values():  # theirs is compiled, anew for each size: no part of a step
            call(), call()
        trained, _ = timing.interleaved(steps)
        for name, times in (("forward", still), ("training step", trained)):
            lines.append(
                [
                    what,
                    name,
                    timing.span(times["ours"]),
                    timing.span(times["peer"]),
                    f"{times['peer'] / times['ours']:.2f}",
                ]
            )
    return lines


def transform_rows(quick: bool) -> list[list[str]]:
    import ducc0
    import torch_harmonics as peer

    lines = []
    for many, size in ((64, (32, 64)), (64, (64, 128)), (16, (128, 256)))[: 1 if quick else None]:
        conv = nn.SphericalConv(1, 1, (0,), (0,), size)
        theirs = peer.RealSHT(*size, lmax=conv.degree + 1, mmax=conv.degree + 1)
        x = torch.randn(many, 1, 1, *size)
        wide = x[:, 0, 0].double().numpy()

        def ducc(wide: np.ndarray = wide, degree: int = conv.degree) -> list:
            return [
                ducc0.sht.analysis_2d(map=one[None], lmax=degree, spin=0, geometry="CC", nthreads=1) for one in wide
            ]

        calls = {
            "ours": lambda c=conv, x=x: c.analysis.analyse(x),
            "torch-harmonics": lambda f=theirs, x=x: f(x),
            "ducc0": ducc,
        }
        with torch.no_grad():
            times, _ = timing.interleaved(calls)
        what = f"{many} real functions, {size[0]} × {size[1]}, analysis"
        lines += [
            [what, name, timing.span(times["ours"]), timing.span(times[name]), f"{times[name] / times['ours']:.2f}"]
            for name in ("torch-harmonics", "ducc0")
        ]
        sht = SpinSHT(size, (0, 1, 2))
        fields = torch.randn(many // 4, 3, *size, dtype=torch.complex64)
        with torch.no_grad():
            times, _ = timing.interleaved({"ours": lambda s=sht, f=fields: s(f)})
        lines.append(
            [
                f"{many // 4} fields of spins 0, 1, 2, {size[0]} × {size[1]}, analysis",
                "—",
                timing.span(times["ours"]),
                "—",
                "—",
            ]
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch-harmonics on its own defaults
        convs, transforms = conv_rows(chosen.quick), transform_rows(chosen.quick)
    text = f"""# Spheres

{timing.cpu()}, {chosen.threads} threads, `python benchmarks/sphere.py`; medians of interleaved calls, float32.

## Convolution, spin 0, beside torch-harmonics' `SpectralConvS2`

{timing.rows(("problem", "what", "ours", "torch-harmonics", "theirs / ours"), convs)}

## Transforms

ducc0 works in double precision with one thread and accuracy without limits of degree; ours are products with tables.

{timing.rows(("problem", "peer", "ours", "peer's", "theirs / ours"), transforms)}
"""
    if chosen.quick:
        print(text)
    else:
        timing.write("sphere", text)


if __name__ == "__main__":
    main()
