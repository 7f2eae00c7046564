"""Every method on every problem that it accepts, against the definition: values, bits, inputs, memory, NaN; gradients too."""

from collections import Counter
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from faltung import Policy, Problem, algebras, methods, plan
from faltung.algebras.algebra import COMPLEXES, INTEGERS, REALS
from faltung.domains import KINDS
from faltung.errors import RefusedError
from faltung.planner import plan_problem
from faltung.testing.conformance import check, differs
from faltung.testing.problems import DATA, PATTERNS, draw, operands

CHUNK, CHUNKS = 55, 40  # 2,200 problems
TENSORS, TENSOR_CHUNKS = 40, 5  # 200 more for methods that compute with torch
HOSTS = {} if find_spec("torch") else {"host": "numpy"}  # without the extra, every problem is one of NumPy's


def drawn(seed):
    return draw(seed, **HOSTS)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_methods_equal_the_definition(chunk):
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        problem = drawn(seed)
        verdicts = {name: check(problem, name, seed=seed) for name in methods.BY_NAME}
        assert verdicts["definition"] == "right", problem.text


@pytest.mark.parametrize("chunk", range(6))
def test_methods_over_min_plus_equal_the_definition(chunk):
    """Draws of their own, so that those above stay what they were before the algebra came."""
    for seed in range(chunk * 25, (chunk + 1) * 25):
        problem = draw(seed, algebra="min-plus", **HOSTS)
        verdicts = {name: check(problem, name, seed=seed) for name in methods.BY_NAME}
        assert verdicts["definition"] == "right", problem.text


@pytest.mark.parametrize(
    "algebra",
    [
        "max-times",
        "max-min",
        "min-max",
        "log",
        "count",
        "rational",
        "modular(7)",
        "modular(4000000007)",
        f"modular({2**64 - 59})",
    ],
)
def test_methods_over_other_algebras_equal_the_definition(algebra):
    objects = algebras.named(algebra).arithmetic == "objects"
    for seed in range(12 if algebra in ("max-min", "min-max") else 25):  # with the vectors of max-plus and min-plus
        problem = draw(seed, algebra=algebra, **({"host": "numpy"} if objects else HOSTS))
        verdicts = {name: check(problem, name, seed=seed) for name in methods.BY_NAME}
        assert verdicts["definition"] == "right", problem.text


@pytest.mark.parametrize("chunk", range(TENSOR_CHUNKS))
def test_methods_on_tensors_equal_the_definition(chunk):
    pytest.importorskip("torch")
    verdicts = Counter()
    for seed in range(chunk * TENSORS, (chunk + 1) * TENSORS):
        problem = draw(seed, host="torch", algebra="real", ndim=1 + seed % 3)
        verdicts[check(problem, "onednn", seed=seed)] += 1
    assert verdicts["right"] > TENSORS * 3 // 4


@pytest.mark.parametrize("chunk", range(4))
def test_chosen_plans_equal_the_definition_whatever_the_filter(chunk):
    """Without forcing: a structured method is tried first and hands on the filters that are not of its kind."""
    for seed in range(5000 + chunk * 50, 5050 + chunk * 50):
        problem = drawn(seed)
        chosen = plan_problem(problem)
        for filters in DATA:
            given = operands(problem, seed, filters)
            assert differs(problem, chosen(**given), given, chosen.error) is None, (
                f"{problem.text} seed {seed}, {filters}"
            )


@pytest.mark.parametrize(
    ("method", "algebra"),
    [("passes", "real"), ("window", "real"), ("window", "integer"), ("window", "max-plus"), ("window", "min-plus")],
)
def test_passes_within_tiles(method, algebra):
    verdicts = Counter()
    for seed in range(150):
        problem = draw(seed, host="numpy", algebra=algebra, unknown="out", pattern=PATTERNS[0], ndim=2 + seed % 3)
        verdicts[
            check(
                replace(problem, stride=(1,) * problem.grid.ndim, dilation=(1,) * problem.grid.ndim), method, seed=seed
            )
        ] += 1
    assert verdicts["right"] >= 50, verdicts


def test_passes_split_any_filter_when_asked_and_windows_refuse_it():
    verdicts = Counter()
    for seed in range(100):
        problem = draw(seed, host="numpy", algebra="real", unknown="out", pattern=PATTERNS[0], ndim=2)
        problem = replace(problem, stride=(1, 1), dilation=(1, 1))
        verdicts["passes", check(problem, "passes", seed=seed, filters="normal")] += 1
        verdicts["window", check(problem, "window", seed=seed, filters="normal")] += 1
    assert verdicts["passes", "right"] >= 30, verdicts
    assert verdicts["window", "unfit"] >= 10, verdicts


def test_a_window_of_huge_values_does_not_overflow_on_the_way():
    x, k = np.full((64, 70), 3e38, "float32"), np.full((7, 9), 1 / 63, "float32")
    assert np.allclose(plan(x, k, mode="valid", policy=Policy(only="window"))(x, k), 3e38, rtol=1e-5)


def test_running_sums_refuse_other_filters():
    verdicts = Counter()
    for seed in range(200):
        problem = draw(seed, host="numpy", algebra="real", unknown="out", pattern=PATTERNS[0])
        verdicts[check(problem, "running", seed=seed, filters="normal")] += 1
    assert verdicts["unfit"] >= 20, verdicts


def test_separable_splits_any_filter_when_asked():
    verdicts = Counter()
    for seed in range(150):
        problem = draw(seed, host="numpy", algebra="real", unknown="out", pattern=PATTERNS[0], ndim=2 + seed % 3)
        verdicts[check(problem, "separable", seed=seed, filters="normal")] += 1
    assert verdicts["right"] >= 50, verdicts


# Longer than a strip, a tile or a restart; more channels than a block; far too many pads.
LONG = (
    'convolve "*s, *s -> *s" x=9000:float32 k=301:float32 out=float32 pad=300:300',
    'convolve "*s, *s -> *s" x=9000:float64 k=301:float64 out=float64 pad=150:150 stride=7 boundary=reflect',
    'correlate "*s, *s -> *s" x=5000:float32 k=7:float32 out=float32 pad=9000:11000 boundary=wrap',
    'correlate "*s, *s -> *s" x=4097:complex64 k=129:complex64 out=complex64 pad=64:64 '
    "dilation=3 boundary=symmetric algebra=complex",
    'convolve "*s, *s -> *s" x=200x190:float32 k=21x19:float32 out=float32 pad=10:10,9:9 boundary=edge,edge',
    'convolve "*s, *s -> *s" x=200x190:float64 k=9x5:float64 out=float64 pad=8:8,4:4 '
    "stride=2x3 dilation=2x1 boundary=wrap,constant(1.5)",
    'correlate "b c *s, o c *s -> b o *s" x=3x17x12x13:float32 k=18x17x3x3:float32 out=float32 pad=1:1,1:1',
    'correlate "b c *s, o c *s -> b o *s" x=2x17x12x13:float32 k=18x17x3x3:float32 out=float32 pad=1:1,1:1 unknown=x',
    'correlate "b c *s, o c *s -> b o *s" x=2x17x12x13:float32 k=18x17x3x3:float32 out=float32 pad=1:1,1:1 unknown=k',
    'correlate "b c *s, c *s -> b c *s" x=2x40x30x31:float64 k=40x5x5:float64 out=float64 pad=2:2,2:2 boundary=reflect,reflect',
    'convolve "*s, *s -> *s" x=40x41x42:float32 k=5x5x5:float32 out=float32 pad=2:2,2:2,2:2 boundary=symmetric,symmetric,symmetric',
    'convolve "*s, *s -> *s" x=4100:uint8 k=600:uint8 out=int32 pad=599:599 algebra=integer',
    'convolve "*s, *s -> *s" x=6000:bool k=33:bool out=bool pad=32:32 algebra=boolean',
    'convolve "*s, *s -> *s" x=6000:float32 k=33:float32 out=float32 pad=32:32 algebra=max-plus',
    'convolve "*s, *s -> *s" x=1:float64 k=1:float64 out=float64 pad=0:0',
    'convolve "*s, *s -> *s" x=1x1x1:float32 k=3x3x3:float32 out=float32 pad=9:9,9:9,9:9 boundary=reflect,symmetric,wrap',
)


@pytest.mark.parametrize("line", LONG)
def test_long_problems(line):
    problem = Problem.parse(line)
    for name in methods.BY_NAME:
        check(problem, name)


def test_spreading_methods_hand_over_to_a_local_one():
    x, k = np.ones(20_000), np.ones(3000) / 3000 + np.arange(3000) * 1e-9
    allowed = plan(x, k, mode="same", policy=Policy(only=("fft", "overlap", "direct")))
    assert methods.named(allowed.method).spreads
    x[5] = np.nan
    y = allowed(x, k)
    assert np.isnan(y[:1505]).all()
    assert np.isfinite(y[1510:]).all()
    with pytest.raises(RefusedError, match=r"finite values.*allow a local method"):
        plan(x, k, mode="same", policy=Policy(only=("fft", "overlap")))(x, k)


def test_the_draws_reach_everything():
    """A suite over draws proves nothing about what is never drawn."""
    seen, accepted = Counter(), Counter()
    for seed in range(CHUNK * CHUNKS):
        p = drawn(seed)
        g = p.grid
        facts = {
            f"{g.ndim}-D",
            p.algebra,
            p.unknown,
            p.host,
            p.pattern,
            "convolve" if p.flip else "correlate",
            p.x_dtype,
            p.k_dtype,
            p.out_dtype,
        }
        facts |= (
            {b.kind for b in p.boundary}
            | {"a constant" for b in p.boundary if b.value}
            | ({"mixed boundaries"} if len(set(p.boundary)) > 1 else set())
        )
        facts |= {"stride"} & {"stride" for s in g.stride if s > 1} | {"dilation" for d in g.dilation if d > 1}
        facts |= {"crop" for lo, hi in g.pads if lo < 0 or hi < 0} | {
            "far pads" for n, (lo, hi) in zip(g.n, g.pads, strict=True) if max(lo, hi) >= n
        }
        modes = {
            "full": [(r - 1, r - 1) for r in g.reach],
            "same": [(r // 2, r - 1 - r // 2) for r in g.reach],
            "valid": [(0, 0)] * g.ndim,
        }
        facts |= {name for name, pads in modes.items() if list(g.pads) == pads} or {"pads"}
        facts |= {"dtype pair"} if p.x_dtype != p.k_dtype else set()
        seen.update(facts)
        accepted.update(name for name, method in methods.BY_NAME.items() if method.refusal(p) is None)
    wanted = {f"{d}-D" for d in range(1, 6)} | {
        "real",
        "complex",
        "integer",
        "boolean",
        "max-plus",
        "out",
        "x",
        "k",
        *KINDS,
        *PATTERNS,
    }
    wanted |= {
        "a constant",
        "mixed boundaries",
        "stride",
        "dilation",
        "crop",
        "far pads",
        "full",
        "same",
        "valid",
        "pads",
        "dtype pair",
        "convolve",
    }
    wanted |= {"correlate", "bool", *INTEGERS, *COMPLEXES, *(t for t in REALS if t != "bfloat16" or not HOSTS)}
    assert not {fact for fact in wanted if seen[fact] < 20}
    for seed in range(60):  # an algebra with draws of its own
        p = draw(seed, algebra="log", **HOSTS)
        accepted.update(name for name, method in methods.BY_NAME.items() if method.refusal(p) is None)
    # Methods that serve no machine numbers, and those for finite sets, are met by the draws of these.
    drawn_for = {
        n
        for n, method in methods.BY_NAME.items()
        if "grid" in method.places and "machine" in method.arithmetics and not n.startswith("triton-")  # met on a GPU
    }
    assert not {name for name in drawn_for if accepted[name] < (20 if not HOSTS else 0)}
    assert CHUNK * CHUNKS >= 2000
