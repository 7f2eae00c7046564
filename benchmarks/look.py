"""How fast and how right looks are: Fréchet's distance beside pytorch-fid's, and multiplications beside those of other counters.

    python benchmarks/look.py [--quick] [--threads N]

Medians of calls in turns, in one process. Counts are compared with the number that follows from the definition.
"""

import importlib
import sys
import types
import warnings

from timing import interleaved, rows, settle, span, write

THREADS = settle()

import numpy as np
import torch
from torch import nn

from faltung import look


class Functional(nn.Module):
    """A convolution that no module holds."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(8, 4, 3, 3))

    def forward(self, x):
        return nn.functional.conv2d(x, self.w, padding=1)


class Shared(nn.Module):
    """One layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(torch.relu(self.conv(x)))


CASES = {
    "dense 3 × 3": (lambda: nn.Conv2d(4, 8, 3, padding=1), (1, 4, 16, 16), 16 * 16 * 8 * 4 * 9),
    "grouped, stride 2": (lambda: nn.Conv2d(4, 8, 3, 2, 1, groups=2), (1, 4, 16, 16), 8 * 8 * 8 * 2 * 9),
    "dilated, one axis": (lambda: nn.Conv1d(4, 8, 3, dilation=2, padding=2), (1, 4, 16), 16 * 8 * 4 * 3),
    "transposed, stride 2": (lambda: nn.ConvTranspose2d(3, 1, 2, 2), (1, 3, 2, 2), 2 * 2 * 3 * 4),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(4, 8, 4, 2, 1, groups=2), (1, 4, 8, 8), 8 * 8 * 4 * 4 * 16),
    "function": (Functional, (1, 4, 16, 16), 16 * 16 * 8 * 4 * 9),
    "called twice": (Shared, (1, 4, 16, 16), 2 * 16 * 16 * 4 * 4 * 9),
    "three axes": (lambda: nn.Conv3d(2, 4, 3), (1, 2, 6, 6, 6), 4**3 * 4 * 2 * 27),
}


def ours(model, x):
    return look.counts(model, x).macs


def by_fvcore(model, x):
    from fvcore.nn import FlopCountAnalysis

    return int(FlopCountAnalysis(model, x).unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def by_ptflops(model, x):
    from ptflops import get_model_complexity_info

    found, _ = get_model_complexity_info(
        model, tuple(x.shape[1:]), as_strings=False, print_per_layer_stat=False, verbose=False, backend="pytorch"
    )
    return int(found or 0)


def by_torchinfo(model, x):
    from torchinfo import summary

    return int(summary(model, input_data=x, verbose=0).total_mult_adds)


def by_torch(model, x):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as mode:
        model(x)
    return mode.get_total_flops() // 2


SIZES = ((256, 1024), (512, 2048), (1024, 4096), (512, 128))
COUNTERS = {"faltung": ours, "torch": by_torch, "fvcore": by_fvcore, "ptflops": by_ptflops, "torchinfo": by_torchinfo}


def counted() -> str:
    """The multiplications of every case by every counter."""
    lines = []
    for name, (make, shape, right) in CASES.items():
        row = [name, right]
        for counter in COUNTERS.values():
            try:
                with torch.no_grad(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = counter(make().eval(), torch.randn(shape))
                row.append("right" if found == right else f"{found} (× {found / right:.3g})")
            except ImportError as error:
                row.append(f"no {error.name}")
            except Exception as error:
                row.append(type(error).__name__)
        lines.append(row)
    return rows(["convolution", "multiplications", *COUNTERS], lines)


def peers_distance():
    """pytorch-fid's function of means and covariances; where torchvision is missing, without its network, which is not needed."""
    try:
        importlib.import_module("torchvision")
    except ImportError:
        for name in ("torchvision", "torchvision.transforms", "pytorch_fid.inception"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
        sys.modules["pytorch_fid.inception"].InceptionV3 = types.SimpleNamespace(BLOCK_INDEX_BY_DIM={2048: 3})
    return importlib.import_module("pytorch_fid.fid_score").calculate_frechet_distance


def distances() -> str:
    """Fréchet's distance from means and covariances, and from few samples."""
    theirs = peers_distance()
    lines = []
    for features, samples in SIZES[:1] if "--quick" in sys.argv else SIZES:
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((samples, features)), 1.1 * rng.standard_normal((samples, features)) + 0.1
        moments = [m for x in (a, b) for m in (x.mean(0), np.cov(x, rowvar=False))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            times, results = interleaved(
                {
                    "faltung": lambda m=moments: look.frechet_of_moments(*m),
                    "pytorch-fid": lambda m=moments: theirs(*m),
                    "samples": lambda a=a, b=b: look.frechet(a, b),
                }
            )
        ratio = times["pytorch-fid"] / times["faltung"]
        apart = abs(results["faltung"] - results["pytorch-fid"]) / results["faltung"]
        lines.append(
            [
                features,
                samples,
                span(times["pytorch-fid"]),
                span(times["faltung"]),
                f"{ratio:.1f}",
                f"{apart:.0e}",
                span(times["samples"]),
            ]
        )
    return rows(
        ["features", "samples", "pytorch-fid", "faltung", "times as fast", "apart", "from the samples themselves"],
        lines,
    )


def main() -> None:
    page = f"""# Looking into networks

{THREADS} threads. Medians of calls in turns.

## Multiplications, counted

{counted()}

## Fréchet's distance

{distances()}
"""
    write("look", page)


if __name__ == "__main__":
    sys.exit(main())
