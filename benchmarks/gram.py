"""Gram matrices, transforms, Bessel functions and kernel sums beside their peers, called in turns; medians.

    python benchmarks/gram.py              about two minutes; on a machine with other work, --threads 1 on a core of its own
    python benchmarks/gram.py --quick      smaller sizes, half a minute; nothing is written

Writes benchmarks/results/gram.md. Peers that are not installed are left out.
"""

import sys
import warnings
from importlib.util import find_spec

import timing

THREADS = timing.settle()

import numpy as np
import scipy.special

from faltung import gram
from faltung.engine import fwht
from faltung.special import log_iv, log_kv
from timing import interleaved, rows, span

QUICK = "--quick" in sys.argv
warnings.simplefilter("ignore")  # peers warn about overflow, which is what is measured


def ratio(mine: float, theirs: float) -> str:
    return f"{theirs / mine:.3g}×"


def transforms() -> str:
    """Ours and QMCPy's, float64, values in the order of the points, orthonormal."""
    import qmcpy

    lines = []
    for m in (8, 12, 16) if QUICK else (8, 12, 16, 20):
        n = 1 << m
        x = np.random.default_rng(0).standard_normal(n)
        lattice = gram.operator(gram.lattice(n, 1), gram.shift_invariant(1, dim=1))
        calls = {
            "fwht": lambda x=x: fwht(x, norm="ortho"),
            "qmcpy.fwht": lambda x=x: qmcpy.fwht(x),
            "fft": lambda x=x, g=lattice: g.transform(x),
            "qmcpy.fftbr": lambda x=x: qmcpy.fftbr(x),
        }
        for call in calls.values():
            call()  # plans and tables: a slow first call would be measured once only
        seconds, results = interleaved(calls)
        assert np.allclose(results["fwht"], results["qmcpy.fwht"])
        assert np.allclose(results["fft"], results["qmcpy.fftbr"][: n // 2 + 1])
        for ours, theirs in (("fwht", "qmcpy.fwht"), ("fft", "qmcpy.fftbr")):
            lines.append(
                (f"2^{m}", ours, span(seconds[ours]), span(seconds[theirs]), ratio(seconds[ours], seconds[theirs]))
            )
    return rows(("points", "transform", "faltung", "QMCPy", "faster by"), lines)


def solves() -> str:
    """`K⁻¹y`, log det K and the first column, beside NumPy's dense matrix and Cholesky."""
    from scipy.linalg import cho_factor, cho_solve

    lines = []
    for m in (8, 10) if QUICK else (8, 10, 11):
        n = 1 << m
        y = np.random.default_rng(0).standard_normal(n)
        for name, design, kernel in _pairs(n, 5):

            def dense(design=design, kernel=kernel, y=y, n=n):
                factor = cho_factor(kernel(design.points, design.points) + 1e-3 * np.eye(n))
                return cho_solve(factor, y), 2 * np.log(np.diag(factor[0])).sum()

            def ours(design=design, kernel=kernel, y=y):
                fast = gram.operator(design, kernel, 1e-3)
                return fast.solve(y), fast.logdet()

            seconds, results = interleaved({"ours": ours, "dense": dense})
            apart = np.abs(results["ours"][0] - results["dense"][0]).max() / np.abs(results["dense"][0]).max()
            assert apart < 1e-8, apart
            lines.append(
                (
                    n,
                    name,
                    span(seconds["ours"]),
                    span(seconds["dense"]),
                    ratio(seconds["ours"], seconds["dense"]),
                    f"{apart:.0e}",
                )
            )
    return rows(("points", "design", "faltung", "dense Cholesky", "faster by", "apart"), lines)


def large() -> str:
    """One first column, solution and likelihood of many points in ten dimensions, and a likelihood with its gradient."""
    lines = []
    n = 1 << (16 if QUICK else 20)
    y = np.random.default_rng(0).standard_normal(n)
    for name, design, kernel in _pairs(n, 10):
        made = gram.operator(design, kernel, 1e-3)
        calls = {
            "column": lambda d=design, k=kernel: gram.operator(d, k, 1e-3),
            "solve": lambda g=made: g.solve(y),
            "likelihood": lambda d=design, k=kernel: gram.gp(d, k, 1e-3).log_likelihood(y),
            "gradient": lambda d=design, k=kernel: gram.gp(d, k, 1e-3).log_likelihood(y, gradient=True),
        }
        seconds, _ = interleaved(calls)
        whole = seconds["solve"] + seconds["likelihood"]
        lines.append((f"2^{n.bit_length() - 1}", name, *(span(seconds[n]) for n in calls), span(whole)))
    header = (
        "points",
        "design",
        "operator",
        "one solution",
        "likelihood",
        "likelihood and gradient",
        "solution and likelihood",
    )
    return rows(header, lines)


def _pairs(n: int, dim: int) -> tuple:
    return (
        ("lattice", gram.lattice(n, dim, shift=0), gram.shift_invariant(2, 0.2, dim=dim)),
        ("digital net", gram.digital_net(n, dim, rng=0), gram.digital_shift_invariant(2, 0.2, dim=dim)),
    )


def bessel() -> str:
    """log I and log K beside the logarithm of SciPy's scaled functions: time, how often that is finite, and how far apart."""
    lines, size = [], 20_000 if QUICK else 200_000
    random = np.random.default_rng(0)
    for words, low, high, reach in (
        ("v in [0, 16], x in [0.01, 25]", 0, 16, 25),
        ("v in [16, 100], x in [0.01, 100]", 16, 100, 100),
        ("v in [100, 2000], x in [0.01, 2000]", 100, 2000, 2000),
    ):
        v, x = random.uniform(low, high, size), random.uniform(0.01, reach, size)
        for name, ours, theirs in (
            ("log I", log_iv, lambda v, x: np.log(scipy.special.ive(v, x)) + x),
            ("log K", log_kv, lambda v, x: np.log(scipy.special.kve(v, x)) - x),
        ):
            seconds, results = interleaved(
                {"ours": lambda f=ours, a=(v, x): f(*a), "scipy": lambda f=theirs, a=(v, x): f(*a)}
            )
            finite = np.isfinite(results["scipy"])
            wanted, came = results["scipy"][finite], results["ours"][finite]
            apart = (np.abs(came - wanted) / np.maximum(1, np.abs(wanted))).max()
            each = [f"{1e9 * s / size:.0f} ns" for s in (seconds["ours"], seconds["scipy"])]
            lines.append(
                (name, words, *each, ratio(seconds["ours"], seconds["scipy"]), f"{finite.mean():.1%}", f"{apart:.0e}")
            )
            assert np.isfinite(results["ours"]).all()
    return rows(("function", "where", "faltung", "SciPy", "faster by", "SciPy finite", "apart there"), lines)


def sums() -> str:
    """Gaussian sums of n points at n queries, bandwidth 0.05 of the unit cube, beside all pairs and scikit-learn's tree."""
    lines = []
    n, h = 3_000 if QUICK else 10_000, 0.05
    for d in (1, 2, 3):
        x = np.random.default_rng(0).random((n, d))
        calls = {
            "grid": lambda x=x, h=h: gram.kernel_sum(x, x, bandwidth=h, method="grid", tolerance=1e-8),
            "tiles": lambda x=x, h=h: gram.kernel_sum(x, x, bandwidth=h, method="tiles"),
        }
        if find_spec("sklearn"):
            from sklearn.neighbors import KernelDensity

            tree = KernelDensity(bandwidth=h, rtol=1e-8).fit(x)
            volume = d * (0.5 * np.log(2 * np.pi) + np.log(h)) + np.log(n)
            calls["sklearn"] = lambda t=tree, x=x, c=volume: np.exp(t.score_samples(x) + c)
        for call in calls.values():
            call()  # compiles: else a slow first call would be the only one
        seconds, results = interleaved(calls)
        apart = max(np.abs(r - results["tiles"]).max() for r in results.values()) / n
        cells = [span(seconds[name]) if name in seconds else "—" for name in ("grid", "tiles", "sklearn")]
        lines.append((n, d, *cells, f"{apart:.0e}"))
    return rows(
        ("points", "dimensions", "grid, tolerance 1e-8", "tiles", "scikit-learn, rtol 1e-8", "apart, of n"), lines
    )


def main() -> None:
    parts = [
        "# Gram matrices, transforms, Bessel functions, kernel sums\n",
        f"{timing.cpu()}, {THREADS} threads, float64, NumPy {np.__version__}, SciPy {scipy.__version__}; medians, in turns.",
    ]
    sections = [
        ("Solving beside a dense matrix", solves),
        ("Many points, ten dimensions", large),
        ("Bessel functions", bessel),
    ]
    sections.append(("Gaussian sums", sums))
    if find_spec("qmcpy"):
        sections.insert(0, ("Transforms", transforms))
    for title, section in sections:
        parts.append(f"\n## {title}\n\n{section.__doc__}\n\n{section()}")
        print(parts[-1], flush=True)
    if not QUICK:
        timing.write("gram", "\n".join(parts))


if __name__ == "__main__":
    main()
