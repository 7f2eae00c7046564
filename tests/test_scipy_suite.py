"""SciPy's own tests for convolve, correlate, fftconvolve and oaconvolve, run with our functions put in.

The classes are SciPy's, imported from the installed package; the functions that they call are ours behind SciPy's signatures.
Where we differ on purpose, the test is listed in `DIFFERENCES` with the reason and has to fail: a difference that disappears is
reported like any other change.
"""

import importlib
import re
import warnings
from unittest import mock

import numpy as np
import pytest
import scipy.signal

import faltung
from faltung import Policy

WIDENS = "sums of narrow integers get a type that provably holds them; SciPy's wrap around"
SCALARS = "0-d arrays have no axis to convolve along and are refused"
EMPTY = "an empty array has no convolution and is refused; SciPy returns an empty array"
EXACT = "an integer sum that could leave 64 bits is refused; SciPy's wraps around"
FLOATS = "one sample is computed like many, in floating point; SciPy multiplies the integers themselves"
BROADCAST = "axes that are only broadcast keep their full length; SciPy's mode same crops them to the first array's"
# Class, test with its parameters (a regular expression), reason.
DIFFERENCES = (
    ("TestConvolve", r"test_zero_rank.*", SCALARS),
    ("TestFFTConvolve", r"test_(zero_rank|empty.*)", f"{SCALARS}; {EMPTY}"),
    ("TestOAConvolve", r"test_(zero_rank|empty.*)", f"{SCALARS}; {EMPTY}"),
    ("TestCorrelateComplex", r"test_rank0.*", SCALARS),
    ("TestCorrelateReal", r"test_(rank1|rank3|method)\w*\[u?int(8|16|32)\]", WIDENS),
    ("TestOAConvolve", r"test_1d_axes\[same-\w+-3-1-.*|test_2d_axes\[\w+-3-1-.*-same-.*", BROADCAST),
    ("TestConvolve", "test_convolve_method_large_input", EXACT),
    ("TestOAConvolve", "test_single_element", FLOATS),
)


class _Marks:
    """`pytest.mark` as SciPy's module is to see it: marks for its array backends, which only its own runs know, do nothing."""

    def __getattr__(self, name):
        if name in ("parametrize", "filterwarnings", "skipif", "skip", "slow"):
            return getattr(MARK, name)
        return lambda *args, **kwargs: MARK.skipif(False, reason=f"{name} is for SciPy's own runs")


MARK = pytest.mark
try:
    with mock.patch.object(pytest, "mark", _Marks()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = importlib.import_module("scipy.signal.tests.test_signaltools")
except ImportError as missing:
    pytest.skip(f"this SciPy comes without its tests ({missing})", allow_module_level=True)


# -- our functions behind SciPy's signatures --------------------------------------------------------------------------------


def policy_of(method, x, k):
    """SciPy's word for how to compute, as a policy; integers are exact whatever the word."""
    if method == "direct":
        return Policy(only=("direct",))
    if method == "fft":
        rounds = {np.asarray(a).dtype.kind for a in (x, k)} & set("fc")
        return Policy(only=("fft",)) if rounds else None
    if method != "auto":
        raise ValueError(f"acceptable method flags are 'auto', 'direct', or 'fft', not {method!r}")
    return None


def convolve(in1, in2, mode="full", method="auto"):
    return faltung.convolve(in1, in2, mode=mode, policy=policy_of(method, in1, in2))


def correlate(in1, in2, mode="full", method="auto"):
    return faltung.correlate(in1, in2, mode=mode, policy=policy_of(method, in1, in2))


def spectral(only):
    """fftconvolve and oaconvolve: floating-point results, along some of the axes, the others broadcast."""

    def function(in1, in2, mode="full", axes=None):
        x, k = np.asarray(in1), np.asarray(in2)
        over = "complex" if "c" in (x.dtype.kind, k.dtype.kind) else "real"
        allowed = Policy(only=only)
        if axes is None:
            return faltung.convolve(x, k, mode=mode, over=over, policy=allowed)
        along = sorted({a % x.ndim for a in np.atleast_1d(axes)})
        others = [a for a in range(x.ndim) if a not in along]
        if mode == "valid" and all(k.shape[a] >= x.shape[a] for a in along):
            x, k = k, x
        names = {a: f"a{a}" for a in others}
        # An axis of length 1 is one that the array does not have: the other's values meet all of it.
        has = [[a for a in others if array.shape[a] > 1 or other.shape[a] == 1] for array, other in ((x, k), (k, x))]
        x, k = (
            array.transpose([*others, *along]).reshape([array.shape[a] for a in kept] + [array.shape[a] for a in along])
            for array, kept in zip((x, k), has, strict=True)
        )
        axes_of = [" ".join([*(names[a] for a in kept), "*s"]) for kept in (*has, others)]
        y = faltung.convolve(x, k, "{}, {} -> {}".format(*axes_of), mode=mode, over=over, policy=allowed)
        return y.transpose(np.argsort([*others, *along]))

    return function


fftconvolve, oaconvolve = spectral(("fft",)), spectral(("overlap",))


@pytest.fixture
def xp():
    return np


@pytest.fixture(autouse=True)
def put_in(request, monkeypatch):
    """Our functions under SciPy's names, and the expectation of a difference where one is listed."""
    owner = request.node.cls.__name__ if request.node.cls else ""
    # Where SciPy judges oaconvolve by fftconvolve, its own fftconvolve remains the judge.
    ours = {"convolve": convolve, "correlate": correlate, "fftconvolve": fftconvolve, "oaconvolve": oaconvolve}
    for name in ours if owner != "TestOAConvolve" else ("oaconvolve",):
        monkeypatch.setattr(theirs, name, ours[name])
    for name, test, reason in DIFFERENCES:
        if owner == name and re.fullmatch(test, request.node.name):
            request.applymarker(pytest.mark.xfail(strict=True, reason=reason))


class TestConvolve(theirs.TestConvolve):
    pass


class TestCorrelate(theirs.TestCorrelate):
    pass


class TestCorrelateReal(theirs.TestCorrelateReal):
    pass


class TestCorrelateComplex(theirs.TestCorrelateComplex):
    pass


class TestFFTConvolve(theirs.TestFFTConvolve):
    pass


class TestOAConvolve(theirs.TestOAConvolve):
    pass


# -- what the differences leave to be shown ---------------------------------------------------------------------------------

FUNCTIONS = pytest.mark.parametrize(
    "function", [convolve, correlate, fftconvolve, oaconvolve], ids=["convolve", "correlate", "fft", "overlap"]
)


@FUNCTIONS
@pytest.mark.parametrize(
    ("x", "k", "mode"),
    [
        ([1], 2, "full"),
        (1, [2], "full"),
        ([3], [[2]], "full"),
        ([1], [2], "chips"),
        (np.ones((2, 3)), np.ones((3, 2)), "valid"),
        ([], [1.0], "full"),
    ],
)
def test_bad_input_is_a_value_error_as_in_scipy(function, x, k, mode):
    """SciPy's tests of these calls look for its own wording."""
    with pytest.raises(ValueError, match=r"expected .*, but got .*; "):
        function(x, k, mode=mode)


@pytest.mark.parametrize("dtype", ["longdouble", "clongdouble"])
def test_long_doubles_are_refused(dtype):
    with pytest.raises(TypeError, match=r"float128|complex256|longdouble"):
        convolve(np.ones(3, dtype), np.ones(2, dtype))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("ours", "original"), [(convolve, scipy.signal.convolve), (correlate, scipy.signal.correlate)])
def test_integers_are_scipys_up_to_its_wrap_around(dtype, mode, ours, original):
    random = np.random.default_rng(8)
    x, k = (random.integers(0, 100, shape).astype(dtype) for shape in ((9, 7), (3, 4)))
    came, wrapped = ours(x, k, mode=mode), original(x, k, mode=mode, method="direct")
    assert np.array_equal(came, original(x.astype("int64"), k.astype("int64"), mode=mode, method="direct"))
    assert np.array_equal(came.astype(dtype), wrapped)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((1,), (1,)),
        ((7,), (7,)),
        ((30,), (7,)),
        ((7,), (30,)),
        ((5, 6), (5, 2)),
        ((3, 4, 5), (2, 2, 2)),
        ((2, 2, 2, 3), (2, 1, 2, 1)),
    ],
)
def test_floats_are_scipys(dtype, mode, shapes):
    random = np.random.default_rng(9)
    x, k = (random.standard_normal(shape) for shape in shapes)
    if dtype.startswith("complex"):
        x, k = (a + 1j * random.standard_normal(a.shape) for a in (x, k))
    x, k = x.astype(dtype), k.astype(dtype)
    tolerance = 200 * np.finfo(dtype).eps
    for ours, original in ((convolve, scipy.signal.convolve), (correlate, scipy.signal.correlate)):
        came, wanted = ours(x, k, mode=mode), original(x, k, mode=mode, method="direct")
        assert came.dtype == wanted.dtype
        assert came.shape == wanted.shape
        assert np.abs(came - wanted).max() <= tolerance * np.abs(k).sum() * np.abs(x).max()
