"""Asking why, forcing a method, and limiting what it may cost: all methods give the same result within their bounds."""

import numpy as np

from faltung import Policy, convolve, data, filters, plan
from faltung.errors import RefusedError


def main() -> None:
    grey = data.photo().mean(axis=2)
    k = filters.gaussian(5.0)
    chosen = plan(grey, k, mode="same")
    print(chosen)

    results = {}
    for name in ("direct", "separable", "fft", "overlap"):
        results[name] = convolve(grey, k, mode="same", policy=Policy(only=name))
    worst = max(float(np.abs(y - results["direct"]).max()) for y in results.values())
    print(f"methods differ by at most {worst:.1e}")

    try:
        convolve(grey, k, mode="same", policy=Policy(only="running"))
    except RefusedError as refused:
        print(refused)
    else:
        raise AssertionError("a Gaussian is no box, so running sums must refuse it")
    assert worst < 1e-9


if __name__ == "__main__":
    main()
