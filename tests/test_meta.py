"""The suites bite: each wrong method, false law and wrong kernel is fed to them and must be caught, for the right reason."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from faltung import algebras, methods
from faltung.algebras import BY_NAME as ALGEBRAS
from faltung.kernels import ALL as KERNELS
from faltung.methods.definition import Definition
from faltung.methods.direct import Direct
from faltung.planner import choose
from faltung.testing import conformance, kernels, laws
from faltung.testing.problems import draw

GIVEN = {"host": "numpy", "unknown": "out"}


class Right(Direct):
    """The control: a newcomer without a fault passes, so what is caught below is the fault."""


class OffByOneTap(Direct):
    """Reads the filter one tap further along the last axis."""

    def prepare(self, problem, k, context):
        return np.ascontiguousarray(np.roll(k, 1, axis=-1))


class WrongBoundary(Direct):
    """Takes symmetric for reflect."""

    def run(self, problem, operands, prepared, context):
        boundary = tuple(b._replace(kind="symmetric") if b.kind == "reflect" else b for b in problem.boundary)
        return super().run(replace(problem, boundary=boundary), operands, prepared, context)


class HalfPrecision(Direct):
    """Rounds every result to half precision on the way."""

    def run(self, problem, operands, prepared, context):
        y = super().run(problem, operands, prepared, context)
        return y.astype("float16").astype(y.dtype)


class NarrowIntegers(Direct):
    """Sums in one byte, where sums wrap."""

    def run(self, problem, operands, prepared, context):
        y = super().run(problem, operands, prepared, context)
        return y.astype("int8").astype(y.dtype)


class ChangesItsInput(Direct):
    """Leaves its mark in the signal."""

    def run(self, problem, operands, prepared, context):
        y = super().run(problem, operands, prepared, context)
        x = operands["x"]
        if x.flags.writeable:
            x += 1
        return y


class OtherBitsEachTime(Direct):
    """Within its bound, and another result at each call."""

    calls = itertools.count()

    def error(self, problem):
        return 0.0 if problem.over.exact else max(super().error(problem), 1e-13)

    def run(self, problem, operands, prepared, context):
        y = super().run(problem, operands, prepared, context)
        return y * (1 + (next(self.calls) % 2) * 4e-16) if y.dtype == "float64" else y


class OtherBitsByThreads(Direct):
    """Within its bound, and another result on one thread."""

    def error(self, problem):
        return 0.0 if problem.over.exact else max(super().error(problem), 1e-13)

    def run(self, problem, operands, prepared, context):
        y = super().run(problem, operands, prepared, context)
        return y * (1 + 4e-16) if context.threads == 1 and y.dtype == "float64" else y


class MoreScratch(Direct):
    """Takes a mebibyte that it has not promised."""

    def run(self, problem, operands, prepared, context):
        idle = np.zeros(1 << 20, np.uint8)
        return super().run(problem, operands, prepared, context) + idle[0]


class SpreadsNaN(Direct):
    """Adds nothing, but from everywhere."""

    def run(self, problem, operands, prepared, context):
        y = super().run(problem, operands, prepared, context)
        with np.errstate(all="ignore"):
            return y + 0 * operands["x"].sum()


class HidesNaN(Direct):
    """Cleans the data without being asked."""

    def run(self, problem, operands, prepared, context):
        return super().run(problem, {"x": np.nan_to_num(operands["x"])}, prepared, context)


class LyingBound(HalfPrecision):
    """States the bound of the sum and rounds to half precision."""


class WrongShape(Direct):
    """Returns a column too few."""

    def run(self, problem, operands, prepared, context):
        return super().run(problem, operands, prepared, context)[..., :-1]


FAULTS = [
    (OffByOneTap, {"algebra": "real"}, "the definition"),
    (OffByOneTap, {"algebra": "boolean"}, "the definition"),
    (WrongBoundary, {"algebra": "real"}, "the definition"),
    (HalfPrecision, {"algebra": "real"}, "the definition"),
    (NarrowIntegers, {"algebra": "integer"}, "the definition"),
    (ChangesItsInput, {"algebra": "real"}, "changed its input x|other bits"),
    (OtherBitsEachTime, {"algebra": "real"}, "other bits on the second run"),
    (OtherBitsByThreads, {"algebra": "real"}, "other bits with 1 threads"),
    (MoreScratch, {"algebra": "real"}, "bytes at its peak, promised"),
    (SpreadsNaN, {"algebra": "real"}, "results that do not touch it"),
    (HidesNaN, {"algebra": "real"}, "results that touch it"),
    (LyingBound, {"algebra": "complex"}, "the definition|bytes|ComplexWarning"),
]


@pytest.fixture
def register(monkeypatch):
    """Put a method among the others for one test, as a plug-in would."""

    def put(kind, **fields):
        method = kind()
        method.name = "newcomer"
        for name, value in fields.items():
            setattr(method, name, value)
        monkeypatch.setattr(methods, "ALL", (*methods.ALL, method))
        monkeypatch.setitem(methods.BY_NAME, "newcomer", method)
        choose.planned_on.cache_clear()
        return method

    yield put
    choose.planned_on.cache_clear()


def complaints(count=60, **fixed):
    """What the suite says about the newcomer over a few drawn problems."""
    said = []
    for seed in range(count):
        try:
            conformance.check(draw(seed, **{**GIVEN, **fixed}), "newcomer", seed=seed)
        except AssertionError as failure:
            said.append(str(failure))
    return said


@pytest.mark.parametrize("fixed", [{}, {"algebra": "real"}, {"algebra": "integer"}, {"algebra": "complex"}], ids=str)
def test_a_right_method_passes(register, fixed):
    register(Right)
    assert complaints(**fixed) == []


@pytest.mark.parametrize(
    ("kind", "fixed", "reason"), FAULTS, ids=[f"{kind.__name__}-{fixed['algebra']}" for kind, fixed, _ in FAULTS]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::numpy.exceptions.ComplexWarning")
def test_a_wrong_method_is_caught(register, kind, fixed, reason):
    register(kind)
    said = complaints(**fixed)
    caught = [line for line in said if any(words in line for words in reason.split("|"))]
    assert caught, said[:3]
    assert all("problem: con" in line or "problem: cor" in line for line in caught)


def test_a_result_of_another_shape_is_caught(register):
    register(WrongShape)
    with pytest.raises((AssertionError, ValueError)) as failure:
        conformance.check(draw(3, algebra="real", **GIVEN), "newcomer")
    assert "problem: " in str(failure.value) + "".join(getattr(failure.value, "__notes__", []))


def test_a_method_that_refuses_and_runs_is_caught(register, monkeypatch):
    method = register(Right)
    problem = draw(3, algebra="real", **GIVEN)
    conformance.check(problem, "newcomer")
    monkeypatch.setattr(method, "refuses", lambda problem: "does not feel like it")
    with pytest.raises(AssertionError, match=r"refuses .does not feel like it. but runs when forced"):
        conformance.check(problem, "newcomer")  # the plan made before is still remembered


def test_a_refusal_with_another_sentence_is_caught(register):
    sentences = itertools.count()
    register(Right, refuses=lambda problem: f"refuses for the {next(sentences)}th time")
    with pytest.raises(AssertionError, match="refuses without its sentence"):
        conformance.check(draw(3, algebra="real", **GIVEN), "newcomer")


def test_a_wrong_gradient_is_caught(register):
    class HalfTheGradient(Definition):
        def run(self, problem, operands, prepared, context):
            y = super().run(problem, operands, prepared, context)
            return y * np.asarray(0.5, y.dtype) if problem.unknown == "k" else y

    register(HalfTheGradient)
    assert complaints(20, algebra="real", unknown="x") == []
    assert any("the definition" in line for line in complaints(20, algebra="real", unknown="k"))


def test_a_wrong_judge_would_be_caught_by_the_laws(monkeypatch):
    """The definition itself is judged by laws that know no method."""

    def off(self, problem, operands, prepared, context):
        return right(self, problem, operands, np.roll(prepared, 1, axis=-1), context)

    right = Definition.run
    problem = draw(0, pattern="*s, *s -> *s", algebra="integer", ndim=1, mode="full", **GIVEN)
    monkeypatch.setattr(laws, "plan_problem", lambda p: choose.plan_problem(p, conformance._JUDGE))
    laws.check_convolution(problem)
    monkeypatch.setattr(Definition, "run", off)
    with pytest.raises(AssertionError, match="impulse fails"):
        laws.check_convolution(problem)


# -- algebras ---------------------------------------------------------------------------------------------------------------


def altered(name, **fields):
    return algebras.Algebra(**{**vars(ALGEBRAS[name]), **fields})


def mean(a, b):
    return np.add(a, b) / np.asarray(a).dtype.type(2)


FALSE_LAWS = [
    (
        "a maximum has no inverse",
        altered("max-plus", laws=ALGEBRAS["max-plus"].laws | {"ring"}),
        "float64",
        "add can be undone|add cancels",
    ),
    (
        "a mean is not associative",
        altered("real", add=mean, scalar_add="(a + b) / 2"),
        "float64",
        "add is associative|neutral",
    ),
    (
        "a difference does not commute",
        altered("integer", add=np.subtract, scalar_add="a - b"),
        "int64",
        "associative|commutative",
    ),
    ("a sum is not idempotent", altered("real", laws=ALGEBRAS["real"].laws | {"idempotent"}), "float32", "idempotent"),
    (
        "a sum picks no operand",
        altered("real", laws=ALGEBRAS["real"].laws | {"ordered"}),
        "float32",
        "picks an operand",
    ),
    (
        "floats round",
        altered("real", laws=ALGEBRAS["real"].laws | {"exact"}),
        "float32",
        "round|associative|distributes",
    ),
    ("another zero", altered("max-plus", zero=lambda dtype: dtype.type(0)), "float64", "zero"),
    ("another one", altered("real", one=lambda dtype: dtype.type(2)), "float64", "one is neutral"),
    ("a compiled add of its own", altered("max-plus", scalar_add="a if a < b else b"), "float64", "the compiled add"),
    ("a minimum that starts from 0", altered("min-plus", zero=lambda dtype: dtype.type(0)), "float32", "zero"),
    ("a maximum for a minimum", altered("min-plus", scalar_add="a if a > b else b"), "float32", "the compiled add"),
    ("a compiled mul of its own", altered("boolean", scalar_mul="a | b"), "bool", "the compiled mul"),
    ("mul that does not commute", altered("integer", mul=lambda a, b: a * a * b), "int64", "mul|one"),
    ("a mul that widens", altered("real", mul=lambda a, b: np.float64(a) * np.float64(b)), "float32", "dtype"),
]


@pytest.mark.parametrize(
    ("algebra", "dtype", "reason"), [row[1:] for row in FALSE_LAWS], ids=[row[0] for row in FALSE_LAWS]
)
def test_a_false_law_is_caught(algebra, dtype, reason):
    with pytest.raises(AssertionError) as failure:
        laws.check_algebra(algebra, dtype)
    assert any(words in str(failure.value) for words in reason.split("|")), str(failure.value)


# -- kernels ----------------------------------------------------------------------------------------------------------------

TOOLS = {kernel.name: kernel.module for kernel in KERNELS}


def wrong_rows(dtype, algebra, unit):
    """Starts each strip one sample late."""
    right = TOOLS["rows"].rows(dtype, algebra, unit)
    return lambda x, *rest: right(x + np.dtype(dtype).itemsize, *rest)


def rows_of_another_algebra(dtype, algebra, unit):
    other = altered(algebra.name, scalar_add=algebra.scalar_mul, scalar_mul=algebra.scalar_add)
    return TOOLS["rows"].rows(dtype, other, unit)


def lazy_rows(dtype, algebra, unit):
    """Leaves the last piece of work to others."""
    right = TOOLS["rows"].rows(dtype, algebra, unit)
    return lambda *a: right(*a[:-1], a[-1] - 1)


def wrong_running(dtype, wide):
    """Sums one tap too few."""
    right = TOOLS["running"].running(dtype, wide)
    return lambda x, y, s, z, first, last, taps, *rest: right(x, y, s, z, first, last, taps - 1, *rest)


def unconjugated(x, k, ndim):
    return TOOLS["fourier"].product(x, k.conj(), ndim)


def late_blocks(dtype, algebra, *shape):
    """Reads each sample one place late."""
    right = TOOLS["blocks"].blocks(dtype, algebra, *shape)
    return lambda x, *rest: right(x + np.dtype(dtype).itemsize, *rest)


def blocks_of_another_algebra(dtype, algebra, *shape):
    other = altered(algebra.name, vector_add=algebra.vector_mul, vector_mul=algebra.vector_add)
    return TOOLS["blocks"].blocks(dtype, other if algebra.name == "real" else algebra, *shape)


def late_indirect(dtype, algebra, *shape):
    """Reads each channel one place late."""
    right = TOOLS["indirect"].indirect(dtype, algebra, *shape)
    return lambda x, *rest: right(x + np.dtype(dtype).itemsize, *rest)


def indirect_of_another_algebra(dtype, algebra, *shape):
    other = altered(algebra.name, vector_add=algebra.vector_mul, vector_mul=algebra.vector_add)
    return TOOLS["indirect"].indirect(dtype, other if algebra.name == "real" else algebra, *shape)


def filters_of_neighbours(dtype, shape):
    """Takes every output's filter for its neighbour's."""
    right = TOOLS["minimal"].filters(dtype, shape)
    return lambda k, w, *rest: right(k + np.dtype(dtype).itemsize, w, *rest)


def outputs_turned(x, k, algebra, threads):
    """The last output first."""
    return TOOLS["pointwise"].pointwise(x, np.ascontiguousarray(k[:, ::-1]), algebra, threads)


def half_turned(x, threads):
    """Leaves the last row where it was."""
    y = np.ascontiguousarray(x.swapaxes(-1, -2))
    y[:, -1] = 0
    return y


def blocks_of_the_largest(dtype, algebra, *shape):
    """Takes the largest where the smallest is wanted."""
    other = ALGEBRAS["max-plus"] if algebra.name == "min-plus" else algebra
    return TOOLS["blocks"].blocks(dtype, other, *shape)


def passes_of_another_algebra(dtype, algebra):
    other = altered(algebra.name, vector_add=algebra.vector_mul, vector_mul=algebra.vector_add)
    return TOOLS["passes"].passes(dtype, other if algebra.name == "real" else algebra)


def idle_tiles(dtype):
    """Leaves the last group of tiles to others."""
    right = TOOLS["tiles"].tiles(dtype)
    return lambda *a: right(*a[:-1], a[-1] - 1)


def unscaled_filters(dtype):
    right = TOOLS["tiles"].filters(dtype)
    return lambda *a: right(*a[:5], 1.0, *a[6:])


def short_envelope(x, taps, parabola, lo, outputs, largest, threads):
    """Forgets the last tap: the window ends one sample early."""
    cut = np.append(taps[:-1], -np.inf if largest else np.inf)
    return TOOLS["envelope"].envelope(x, cut, parabola, lo, outputs, largest, threads)


def envelope_beside_the_vertex(x, taps, parabola, lo, outputs, largest, threads):
    """Takes the borders between parabolas half a sample too early."""
    return TOOLS["envelope"].envelope(x, taps, (parabola[0], parabola[1] + 0.5), lo, outputs, largest, threads)


def deaf_envelope(x, *rest):
    """Does not hear of NaN."""
    return TOOLS["envelope"].envelope(np.where(np.isnan(x), x.dtype.type(0), x), *rest)


fourier = {name: getattr(TOOLS["fourier"], name) for name in ("spectrum", "product", "signal")}
WRONG_KERNELS = [
    ("rows", {"rows": wrong_rows}),
    ("rows", {"rows": rows_of_another_algebra}),
    ("rows", {"rows": lazy_rows}),
    ("blocks", {"blocks": late_blocks}),
    ("blocks", {"blocks": blocks_of_another_algebra}),
    ("indirect", {"indirect": late_indirect}),
    ("indirect", {"indirect": indirect_of_another_algebra}),
    ("minimal", {"minimal": TOOLS["minimal"].minimal, "filters": filters_of_neighbours}),
    ("minimal", {"minimal": lambda dtype, shape: lambda *a: None, "filters": TOOLS["minimal"].filters}),
    (
        "pointwise",
        {
            "pointwise": lambda x, k, algebra, threads: TOOLS["pointwise"].pointwise(
                x, k[:, ::-1].copy(), algebra, threads
            )
        },
    ),
    ("turned", {"turned": half_turned, "contiguous": TOOLS["turned"].contiguous}),
    ("turned", {"turned": TOOLS["turned"].turned, "contiguous": lambda x, threads: x}),
    ("blocks", {"blocks": blocks_of_the_largest}),
    ("passes", {"passes": passes_of_another_algebra}),
    ("tiles", {"tiles": idle_tiles, "filters": TOOLS["tiles"].filters}),
    ("tiles", {"tiles": TOOLS["tiles"].tiles, "filters": unscaled_filters}),
    ("running", {"running": wrong_running}),
    ("envelope", {"envelope": short_envelope}),
    ("envelope", {"envelope": envelope_beside_the_vertex}),
    ("envelope", {"envelope": deaf_envelope}),
    ("fourier", {**fourier, "product": unconjugated}),
    (
        "fourier",
        {
            **fourier,
            "signal": lambda s, lengths, real, workers=1: fourier["signal"](s, lengths, real).astype("complex128"),
        },
    ),
    (
        "rounded",
        {
            "rounded": lambda x, dtype, threads: np.clip(
                np.nan_to_num(x, posinf=9e9, neginf=-9e9), np.iinfo(dtype).min, np.iinfo(dtype).max
            ).astype(dtype)
        },
    ),
    ("rounded", {"rounded": lambda x, dtype, threads: np.nan_to_num(np.rint(x)).astype("int64").astype(dtype)}),
]


@pytest.mark.parametrize(
    ("operation", "functions"), WRONG_KERNELS, ids=[f"{row[0]}-{i}" for i, row in enumerate(WRONG_KERNELS)]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_kernel_is_caught(operation, functions):
    with pytest.raises(AssertionError):
        kernels.CHECKS[operation](SimpleNamespace(**functions))


@pytest.mark.parametrize("operation", ["running", "fourier", "rounded", "envelope"])
def test_the_cases_pass_with_the_right_kernel(operation):
    functions = {
        name: getattr(TOOLS[operation], name) for name in (fourier if operation == "fourier" else (operation,))
    }
    kernels.CHECKS[operation](SimpleNamespace(**functions))
