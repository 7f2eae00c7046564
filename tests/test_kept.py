"""Memory that is kept between calls: by thread and purpose, within a limit, never part of a result."""

import threading

import numpy as np
import pytest

import faltung
from faltung.kernels.threads import KEPT, kept, scratch


def test_memory_is_kept_by_purpose_and_thread():
    first = kept("one", (4, 5), np.dtype("float32"))
    assert first.shape == (4, 5)
    assert np.shares_memory(first, kept("one", (3,), np.dtype("float64")))
    assert not np.shares_memory(first, kept("two", (4, 5), np.dtype("float32")))
    other = []
    thread = threading.Thread(target=lambda: other.append(kept("one", (4, 5), np.dtype("float32"))))
    thread.start()
    thread.join()
    assert not np.shares_memory(first, other[0])
    assert scratch(100) % 64 == 0


def test_large_memory_is_given_back():
    large = kept("large", (KEPT + 1,), np.dtype("uint8"))
    assert not np.shares_memory(large, kept("large", (KEPT + 1,), np.dtype("uint8")))


@pytest.mark.parametrize("method", ["indirect", "winograd", "blocks", "overlap", "passes", "direct"])
@pytest.mark.parametrize("pattern", ["b c *s, o c *s -> b o *s", "b *s c, o c *s -> b *s o", "*s, *s -> *s"])
def test_results_do_not_lie_in_kept_memory(method, pattern):
    random = np.random.default_rng(0)
    shapes = {"b": (2, 16, 12, 12), "*": (40, 40)}
    x_shape = shapes[pattern[0]]
    k_shape = (16, 16, 3, 3) if pattern[0] == "b" else (3, 3)
    if pattern.startswith("b *s"):
        x_shape = (2, 12, 12, 16)
    if method == "passes":
        pattern, x_shape, k_shape = "*s, *s -> *s", (40, 40), (3, 3)
    policy, k = faltung.Policy(only=method), np.ones(k_shape, "float32")
    signals = [random.standard_normal(x_shape).astype("float32") for _ in range(3)]
    results = [faltung.convolve(x, k, pattern, mode="same", policy=policy) for x in signals]
    copies = [y.copy() for y in results]
    plan = faltung.plan(signals[0], k, pattern, mode="same", policy=policy)
    prepared, other = plan.prepare(k), plan.prepare(2 * k)
    for x, y, copy in zip(signals, results, copies, strict=True):
        faltung.convolve(x, 3 * k, pattern, mode="same", policy=policy)
        np.testing.assert_array_equal(y, copy)
        # A prepared filter outlives calls with other filters.
        np.testing.assert_array_equal(prepared(x), copy)
        np.testing.assert_allclose(other(x), 2 * copy, rtol=1e-4, atol=1e-4)
