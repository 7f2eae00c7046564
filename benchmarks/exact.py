"""Exact products against FLINT, galois, NumPy's object arrays and SciPy's rounded transforms: one process, calls in turns, medians.

    python benchmarks/exact.py               one thread, about five minutes
    python benchmarks/exact.py --most 5      up to 10⁵ terms, one minute
    python benchmarks/exact.py --threads 2   ours on two threads (the peers have one)

Ours are arrays in and arrays out through `faltung.convolve`, checks and planning included; bits and words go through
`faltung.kernels`. FLINT's operands are its own objects, made beforehand, and so are its results: reading them into Python costs
more than most products. In the rows "lists" both sides begin and end with Python's integers. Every result of ours is compared with
FLINT's. NumPy and galois are left out where one call takes longer than a few seconds. Writes benchmarks/results/exact.md.
"""

import argparse
import statistics

import timing

THREADS = timing.settle()

import flint
import galois
import numpy as np
import scipy.signal

import faltung
from faltung import Policy
from faltung.kernels.modular import objects, product
from timing import interleaved, rows, span

RANDOM = np.random.default_rng(0)
GALOIS = {998244353: 10**4, 2**31 - 1: 10**4, 2**61 - 1: 10**3, 2: 10**4}  # the longest that is not waited for
FIELDS: dict = {}


def residues(p: int, n: int, policy: Policy) -> tuple:
    x, k = RANDOM.integers(0, p, n), RANDOM.integers(0, p, n)
    a, b = (flint.nmod_poly(v.tolist(), p) for v in (x, k))
    calls = {"ours": lambda: faltung.convolve(x, k, over=f"modular({p})", policy=policy), "FLINT": lambda: a * b}
    if n <= GALOIS.get(p, 0):
        field = FIELDS.setdefault(p, galois.GF(p))
        u, v = field(x), field(k)
        calls["galois"] = lambda: np.convolve(u, v)
    if n <= 10**3:
        x_, k_ = x.astype(object), k.astype(object)
        calls["NumPy"] = lambda: np.convolve(x_, k_) % p
    return calls, lambda y: y.tolist(), lambda y: [int(v) for v in y.coeffs()]


def bits(n: int, policy: Policy) -> tuple:
    x, k = RANDOM.integers(0, 2, n).astype("uint8"), RANDOM.integers(0, 2, n).astype("uint8")
    x[-1] = k[-1] = 1
    a, b = (flint.nmod_poly(v.tolist(), 2) for v in (x, k))
    calls = {"ours": lambda: product.binary(x, k, THREADS), "FLINT": lambda: a * b}
    if n <= GALOIS[2]:
        field = FIELDS.setdefault(2, galois.GF(2))
        u, v = field(x), field(k)
        calls["galois"] = lambda: np.convolve(u, v)
    return calls, lambda y: y.tolist(), lambda y: [int(v) for v in y.coeffs()]


def machine(width: int, n: int, policy: Policy) -> tuple:
    """Integers whose sums fit 64 bits."""
    x, k = (RANDOM.integers(-(2**width), 2**width, n) for _ in range(2))
    a, b = (flint.fmpz_poly(v.tolist()) for v in (x, k))
    calls = {
        "ours": lambda: faltung.convolve(x, k, policy=policy),
        "FLINT": lambda: a * b,
        "SciPy": lambda: np.rint(scipy.signal.fftconvolve(x.astype(float), k.astype(float))).astype(np.int64),
    }
    if n <= 10**4:
        x_, k_ = x.astype(object), k.astype(object)
        calls["NumPy"] = lambda: np.convolve(x_, k_)
    return calls, lambda y: y.tolist(), lambda y: [int(v) for v in y.coeffs()]


def wide(n: int, policy: Policy) -> tuple:
    """Integers of 62 bits, results in words of 64."""
    x, k = (RANDOM.integers(-(2**62), 2**62, n) for _ in range(2))
    a, b = (flint.fmpz_poly(v.tolist()) for v in (x, k))
    calls = {"ours": lambda: product.words(x, k, THREADS), "FLINT": lambda: a * b}
    if n <= 10**4:
        x_, k_ = x.astype(object), k.astype(object)
        calls["NumPy"] = lambda: np.convolve(x_, k_)
    return calls, lambda y: objects.from_words(y).tolist(), lambda y: [int(v) for v in y.coeffs()]


def lists(width: int, n: int, policy: Policy) -> tuple:
    """Python's integers in and out."""
    x, k = ([int.from_bytes(RANDOM.bytes(-(-width // 8)), "little") for _ in range(n)] for _ in range(2))

    def ours() -> list:
        a, b = np.empty(n, object), np.empty(n, object)
        a[:], b[:] = x, k
        return faltung.convolve(a, b, over="rational", policy=policy).tolist()

    def theirs() -> list:
        return [int(v) for v in (flint.fmpz_poly(x) * flint.fmpz_poly(k)).coeffs()]

    calls = {"ours": ours, "FLINT": theirs}
    if n <= 10**3:
        x_, k_ = np.array(x, object), np.array(k, object)
        calls["NumPy"] = lambda: np.convolve(x_, k_)
    return calls, lambda y: y, lambda y: y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=6, help="powers of ten of terms")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    policy = Policy(threads=options.threads)
    sizes = [10**e for e in range(3, options.most + 1)]
    kinds = [
        (f"modulo {name}", lambda n, p=p: residues(p, n, policy), sizes)
        for name, p in (("998244353", 998244353), ("2³¹ − 1", 2**31 - 1), ("2⁶¹ − 1", 2**61 - 1))
    ]
    kinds += [("bits (modulo 2)", lambda n: bits(n, policy), sizes)]
    kinds += [("integers of 20 bits", lambda n: machine(20, n, policy), sizes)]
    kinds += [("integers of 62 bits, in words", lambda n: wide(n, policy), sizes)]
    kinds += [
        (f"lists of {width} bits", lambda n, width=width: lists(width, n, policy), sizes[:most])
        for width, most in ((56, 3), (400, 2), (8000, 1))
    ]
    lines = []
    for name, make, lengths in kinds:
        for n in lengths:
            calls, ours, theirs = make(n)
            for label in {"ours", "galois"} & set(calls):
                calls[label]()  # compiled before anything is timed
            # Short calls are disturbed most: the median of the medians of several rounds.
            rounds = [interleaved(calls) for _ in range(5 if n <= 10**3 and not name.startswith("lists") else 1)]
            times = {label: statistics.median(found[label] for found, _ in rounds) for label in calls}
            results = rounds[0][1]
            wanted = theirs(results["FLINT"])
            came = ours(results["ours"])
            same = came[: len(wanted)] == wanted and not any(came[len(wanted) :])
            assert same, f"{name}, {n} terms: another result than FLINT's"
            wrong = ""
            if "SciPy" in results:
                count = int((np.asarray(results["SciPy"]) != np.asarray(came)).sum())
                wrong = f"{span(times['SciPy'])}, {count or 'none'} wrong"
            ratios = [
                f"{times[peer] / times['ours']:.3g}" if peer in times else "" for peer in ("FLINT", "NumPy", "galois")
            ]
            lines.append([name, f"10^{len(str(n)) - 1}", span(times["ours"]), span(times["FLINT"]), *ratios, wrong])
            print(*lines[-1], sep=" | ", flush=True)
    table = rows(
        ("values", "terms", "ours", "FLINT", "FLINT / ours", "NumPy / ours", "galois / ours", "SciPy, rounded"), lines
    )
    peers = f"python-flint {flint.__version__} (FLINT {flint.__FLINT_VERSION__}), galois {galois.__version__}"
    threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
    text = f"""# Exact products on {timing.cpu()}, {threads}

Two operands of so many terms each, medians. Peers, on one thread: {peers},
NumPy {np.__version__} on object arrays, SciPy {scipy.__version__}. FLINT is that of the wheel of PyPI, for any x86-64 processor.
Every result of ours equals FLINT's.

{table}
"""
    timing.write("exact" if options.threads == 1 else f"exact-{options.threads}-threads", text)


if __name__ == "__main__":
    main()
