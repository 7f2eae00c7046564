"""Convolutions, matrix products and closures over semirings against what people call today.

    python benchmarks/semiring.py            two threads, about three minutes
    python benchmarks/semiring.py --quick    small sizes, for a look

Every row: median seconds of calls in turns within one process, the results compared first. Peers: scipy.ndimage (grey and binary
morphology), OpenCV where the element is flat, torch (unfold and logsumexp for the log semiring; a broadcast product and its
reduction, as genbmm's check does, for matrices), scipy.sparse.csgraph (Floyd and Warshall). Writes benchmarks/results/semiring.md.
"""

import sys

import timing

THREADS = timing.settle()

import cv2
import numpy as np
import torch
from scipy import ndimage
from scipy.sparse import csgraph

import faltung
from faltung import filters
from faltung.engine import closure, matmul
from timing import interleaved, rows, span

QUICK = "--quick" in sys.argv
SIDE, CUBE, MATRIX, GRAPH, LONG = (256, 48, 200, 200, 20_000) if QUICK else (1024, 128, 512, 1000, 200_000)
torch.set_num_threads(THREADS)
cv2.setNumThreads(THREADS)


def grey() -> list[tuple]:
    """Dilations and erosions."""
    random, made = np.random.default_rng(0), []
    for shape, size in (((SIDE, SIDE), 7), ((SIDE, SIDE), 21), ((CUBE,) * 3, 5)):
        x = random.standard_normal(shape, dtype="float32") * 100
        ndim, where = len(shape), f"{'×'.join(map(str, shape))}, {'×'.join([str(size)] * len(shape))}"
        flat = np.zeros((size,) * ndim, "float32")
        ball = -filters.parabola([size // 2] * ndim).astype("float32")
        rough = random.standard_normal((size,) * ndim, dtype="float32")
        pyramid = (-sum(np.ix_(*[np.abs(np.arange(size) - size // 2) * 2.0] * ndim))).astype("float32")
        for name, k in (("flat", flat), ("parabola", ball), ("pyramid", pyramid), ("random", rough)):
            assert k.shape == flat.shape
            calls = {
                "ours": lambda x=x, k=k: faltung.convolve(x, k, over="max-plus", mode="same", boundary="symmetric"),
                "scipy.ndimage": lambda x=x, k=k: ndimage.grey_dilation(x, structure=k),
            }
            if name == "flat" and ndim == 2:
                calls["OpenCV"] = lambda x=x, size=size: cv2.dilate(
                    x, np.ones((size, size), np.uint8), borderType=cv2.BORDER_REFLECT
                )
            made.append((f"dilation, {name}", where, calls, 1e-6))
        calls = {
            "ours": lambda x=x, k=rough: faltung.correlate(x, -k, over="min-plus", mode="same", boundary="symmetric"),
            "scipy.ndimage": lambda x=x, k=rough: ndimage.grey_erosion(x, structure=k),
        }
        made.append(("erosion, random", where, calls, 1e-6))
    return made


def truth() -> list[tuple]:
    """Binary dilations."""
    random, made = np.random.default_rng(1), []
    for shape, size in (((SIDE, SIDE), 5), ((SIDE, SIDE), 25), ((CUBE,) * 3, 5)):
        x, k = random.random(shape) < 0.02, random.random((size,) * len(shape)) < 0.5
        calls = {
            "ours": lambda x=x, k=k: faltung.convolve(x, k, over="boolean", mode="same"),
            "scipy.ndimage": lambda x=x, k=k: ndimage.binary_dilation(x, k),
        }
        made.append(
            (
                "binary dilation, random",
                f"{'×'.join(map(str, shape))}, {'×'.join([str(size)] * len(shape))}",
                calls,
                0.0,
            )
        )
    return made


def logs() -> list[tuple]:
    """Log-domain convolution and its gradient."""
    random, made = np.random.default_rng(2), []
    for dtype in ("float32", "float64"):
        x, k = (torch.from_numpy(random.standard_normal(n)).to(getattr(torch, dtype)) for n in (LONG, 33))

        def composed(x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return torch.logsumexp(x.unfold(0, k.shape[0], 1) + k, dim=1)

        def ours(x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return faltung.correlate(x, k, mode="valid", over="log")

        def graded(call, x=x, k=k):
            a, b = x.clone().requires_grad_(), k.clone().requires_grad_()
            call(a, b).sum().backward()
            return torch.cat([a.grad, b.grad])

        where = f"{LONG} and 33, {dtype}"
        near = 1e-4 if dtype == "float32" else 1e-11
        made.append(
            ("log sums", where, {"ours": lambda x=x, k=k: ours(x, k), "torch": lambda x=x, k=k: composed(x, k)}, near)
        )
        calls = {"ours": lambda g=graded: g(ours), "torch": lambda g=graded: g(composed)}
        made.append(("log sums, value and gradients", where, calls, near * 100))
    return made


def products() -> list[tuple]:
    """Matrix products."""
    random, made, n = np.random.default_rng(3), [], MATRIX
    a, b = (random.standard_normal((n, n), dtype="float32") for _ in "ab")
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)

    def in_rows(join, meet):
        """A few rows at a time: the whole tensor of products does not fit."""
        return torch.cat([join(meet(ta[i : i + 16, :, None], tb[None])) for i in range(0, n, 16)])

    peers = {
        "max-plus": lambda: in_rows(lambda v: v.amax(1), torch.add),
        "max-min": lambda: in_rows(lambda v: v.amax(1), torch.minimum),
        "log": lambda: in_rows(lambda v: v.logsumexp(1), torch.add),
    }
    for over, peer in peers.items():
        calls = {"ours": lambda over=over: matmul(a, b, over=over), "torch broadcast": peer}
        made.append((f"product, {over}", f"{n}³, float32", calls, 1e-4 if over == "log" else 0.0))
    whole = random.integers(-99, 99, (n, n))
    made.append(
        (
            "product, integer",
            f"{n}³, int64",
            {"ours": lambda: matmul(whole, whole), "NumPy": lambda: whole @ whole},
            0.0,
        )
    )
    truth = random.random((n, n)) < 0.1
    made.append(
        ("product, boolean", f"{n}³", {"ours": lambda: matmul(truth, truth), "NumPy": lambda: truth @ truth}, 0.0)
    )
    return made


def closures() -> list[tuple]:
    """All shortest paths."""
    random, n = np.random.default_rng(4), GRAPH
    lengths = np.where(random.random((n, n)) < 0.05, random.integers(1, 100, (n, n)).astype("float64"), np.inf)
    edges = np.where(np.isinf(lengths), 0.0, lengths)
    calls = {"ours": lambda: closure(lengths, over="min-plus"), "csgraph": lambda: csgraph.floyd_warshall(edges)}
    return [("all shortest paths", f"{n} nodes, float64", calls, 0.0)]


def main() -> None:
    lines = []
    for what, where, calls, near in (*grey(), *truth(), *logs(), *products(), *closures()):
        for call in calls.values():
            call()  # whatever has to be compiled
        seconds, results = interleaved(calls)
        for label, result in results.items():
            came, wanted = (np.asarray(r, dtype="float64") for r in (results["ours"], result))
            # A peer may treat the boundary its own way: inside they must agree.
            inner = tuple(slice(25, -25) if n > 60 and came.ndim > 1 else slice(None) for n in came.shape)
            assert came.shape == wanted.shape, (what, where, label)
            assert np.allclose(came[inner], wanted[inner], rtol=near, atol=near), (what, where, label)
        for label in calls:
            if label != "ours":
                ratio = seconds[label] / seconds["ours"]
                lines.append((what, where, span(seconds["ours"]), label, span(seconds[label]), f"{ratio:.1f}×"))
                print(*lines[-1], sep="  ", flush=True)
    head = f"# Semirings\n\n{timing.cpu()}, {THREADS} threads; medians of calls in turns. Ratios above 1: ours is faster.\n\n"
    table = rows(("what", "sizes", "ours", "peer", "its time", "ratio"), lines)
    if not QUICK:
        timing.write("semiring", head + table)


if __name__ == "__main__":
    main()
