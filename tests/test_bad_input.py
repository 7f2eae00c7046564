"""Wrong calls: each raises its own kind of error, names what was expected and what came, and says what to do."""
# ruff: noqa: E501
# One wrong call a line: the table is read across.

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from faltung import Policy, Problem, Spec, convolve, correlate, explain, plan
from faltung.errors import (
    ArgumentError,
    DtypeError,
    ExactnessError,
    FaltungError,
    MemoryBudgetError,
    MissingExtraError,
    RefusedError,
)
from faltung.planner import plan_problem

DENSE = "b c *s, o c *s -> b o *s"
LINE = 'convolve "*s, *s -> *s" x=8:float32 k=3:float32 out=float32 pad=1:1'


def a(*shape, dtype="float64"):
    return np.ones(shape, dtype)


def problem(**changes):
    """A problem's line with some words changed or added."""
    words = {"x": "8:float32", "k": "3:float32", "out": "float32", "pad": "1:1", **changes}
    return 'convolve "*s, *s -> *s" ' + " ".join(f"{name}={value}" for name, value in words.items())


def forced(name, x=None, k=None, **options):
    return convolve(a(9) if x is None else x, a(3) if k is None else k, policy=Policy(only=name), **options)


# fmt: off
# What is wrong: (the call, the error, words of what was expected, words of what came)
WRONG = {
    # shapes
    "0-d arrays": (lambda: convolve(3.0, 4.0), ArgumentError, "at least one", "x () with 0"),
    "1-D against 2-D": (lambda: convolve(a(5), a(3, 3)), ArgumentError, "as many spatial axes", "x (5,) with 1 and k (3, 3) with 2"),
    "empty signal": (lambda: convolve([], a(3)), ArgumentError, "at least one sample", "x (0,) and k (3,)"),
    "empty filter": (lambda: convolve(a(3), np.zeros(0)), ArgumentError, "one tap", "x (3,) and k (0,)"),
    "one empty axis": (lambda: convolve(a(4, 0), a(2, 2)), ArgumentError, "at least one sample", "x (4, 0)"),
    "valid with a longer filter on one axis": (lambda: convolve(a(3, 5), a(5, 3), mode="valid"), ArgumentError, "reach (5, 3)", "padded sizes (3, 5)"),
    "filter longer than the signal": (lambda: convolve(a(1, 1, 4), a(2, 1, 6), DENSE, mode="valid"), ArgumentError, "reach (6,)", "padded sizes (4,)"),
    "dilated filter longer than the signal": (lambda: correlate(a(5), a(3), mode="valid", dilation=3), ArgumentError, "reach (7,)", "padded sizes (5,)"),
    "pads that crop everything": (lambda: convolve(a(5), a(3), mode=[(-3, -3)]), ArgumentError, "reach (3,)", "padded sizes (-1,)"),
    "channels that differ": (lambda: convolve(a(2, 3, 8), a(4, 5, 3), DENSE), ArgumentError, "'c' equally long", "3 in x (2, 3, 8) and 5 in k (4, 5, 3)"),
    "too few axes for the pattern": (lambda: convolve(a(8), a(4, 5, 3), DENSE), ArgumentError, "as many spatial axes", "x (8,)"),
    "groups that differ": (
        lambda: convolve(a(1, 2, 3, 8), a(4, 1, 3, 3), "b g c *s, g o c *s -> b g o *s"), ArgumentError, "'g' equally long", "2 in x (1, 2, 3, 8) and 4 in k",
    ),
    # patterns
    "a pattern that is a number": (lambda: convolve(a(5), a(3), 5), ArgumentError, "a string such as", "5;"),
    "no arrow": (lambda: convolve(a(5), a(3), "*s, *s"), ArgumentError, "two operands and a result", "'*s, *s'"),
    "one operand": (lambda: convolve(a(5), a(3), "*s -> *s"), ArgumentError, "two operands", "'*s -> *s'"),
    "no star": (lambda: convolve(a(5), a(3), "s, s -> s"), ArgumentError, "one starred group", "'s, s -> s'"),
    "two stars": (lambda: convolve(a(5), a(3), "*s *t, *s -> *s"), ArgumentError, "one starred group", "'*s *t, *s -> *s'"),
    "different stars": (lambda: convolve(a(5), a(3), "*s, *t -> *s"), ArgumentError, "the same in all three", "'*s, *t -> *s'"),
    "an axis twice": (lambda: convolve(a(5, 5, 5), a(3), "b b *s, *s -> b *s"), ArgumentError, "each axis once in the signal", "'b' twice"),
    "an axis from nowhere": (lambda: convolve(a(5), a(3), "*s, *s -> z *s"), ArgumentError, "that a signal or filter has", "'z'"),
    "an axis that leads nowhere": (lambda: convolve(a(2, 5), a(3), "b *s, *s -> *s"), ArgumentError, "meet another operand", "'b' alone"),
    "an axis that is no name": (lambda: convolve(a(2, 5), a(3), "1 *s, *s -> 1 *s"), ArgumentError, "names made of letters", "'1'"),
    # modes
    "an unknown mode": (lambda: convolve(a(5), a(3), mode="fill"), ArgumentError, "'full', 'same', 'valid'", "'fill'"),
    "no mode": (lambda: convolve(a(5), a(3), mode=None), ArgumentError, "'full', 'same', 'valid'", "None"),
    "too many pads": (lambda: convolve(a(5), a(3), mode=[(1, 1), (2, 2)]), ArgumentError, "1 (lo, hi) pairs", "[(1, 1), (2, 2)]"),
    "pads that are no pairs": (lambda: convolve(a(5, 5), a(3, 3), mode=(1, 2)), ArgumentError, "2 (lo, hi) pairs", "(1, 2)"),
    "half a pad": (lambda: convolve(a(5), a(3), mode=[(1.5, 2)]), ArgumentError, "whole numbers", "[(1.5, 2)]"),
    # boundaries
    "an unknown boundary": (lambda: convolve(a(5), a(3), boundary="mirror"), ArgumentError, "constant, edge, reflect, symmetric, wrap", "'mirror'"),
    "too many boundaries": (lambda: convolve(a(5), a(3), boundary=["edge", "wrap"]), ArgumentError, "1 values", "2 (['edge', 'wrap'])"),
    "too few boundaries": (lambda: convolve(a(5, 5), a(3, 3), boundary=["edge"]), ArgumentError, "2 values", "1 (['edge'])"),
    "no boundary": (lambda: convolve(a(5), a(3), boundary=None), ArgumentError, "a number", "None"),
    "a fraction among integers": (lambda: convolve([1, 2], [1, 1], boundary=0.5), ArgumentError, "among the integer values", "0.5"),
    "infinity among integers": (lambda: convolve([1, 2], [1, 1], boundary=float("inf")), ArgumentError, "among the integer values", "inf"),
    "a complex constant among reals": (lambda: convolve(a(5), a(3), boundary=1j), ArgumentError, "among the real values", "1j"),
    "two among truth values": (lambda: convolve(a(5, dtype=bool), a(3, dtype=bool), boundary=2), ArgumentError, "among the boolean values", "2"),
    "below zero among unsigned": (
        lambda: convolve(a(5, dtype="uint64"), a(3, dtype="uint64"), boundary=-1), ArgumentError, "among the integer values", "-1",
    ),
    # stride and dilation
    "stride 0": (lambda: convolve(a(5), a(3), stride=0), ArgumentError, "whole numbers of at least 1", "(0,)"),
    "a negative stride": (lambda: convolve(a(5, 5), a(3, 3), stride=(1, -2)), ArgumentError, "at least 1", "(1, -2)"),
    "half a stride": (lambda: convolve(a(5), a(3), stride=1.5), ArgumentError, "a whole number", "1.5"),
    "stride True": (lambda: convolve(a(5), a(3), stride=True), ArgumentError, "a whole number", "True"),
    "too many strides": (lambda: convolve(a(5), a(3), stride=(1, 2)), ArgumentError, "1, one for each spatial axis", "(1, 2)"),
    "dilation 0": (lambda: convolve(a(5), a(3), dilation=0), ArgumentError, "whole numbers of at least 1", "(0,)"),
    "a word for dilation": (lambda: convolve(a(5), a(3), dilation="2"), ArgumentError, "a whole number", "'2'"),
    # values and dtypes
    "text": (lambda: convolve("abc", a(3)), DtypeError, "an array of numbers", "<U3"),
    "nothing": (lambda: convolve(None, a(3)), DtypeError, "an array of numbers", "NoneType"),
    "a list for an algebra": (lambda: convolve(a(5), a(3), over=["real"]), ArgumentError, "one of real", "['real']"),
    "objects": (lambda: convolve(np.array([1, None]), a(3)), DtypeError, "an array of numbers", "object"),
    "ragged lists": (lambda: convolve([[1, 2], [3]], a(3, 3)), DtypeError, "an array of numbers", "list"),
    "dates": (lambda: convolve(np.zeros(3, "M8[s]"), a(3)), DtypeError, "a dtype among", "datetime64[s]"),
    "structured values": (lambda: convolve(np.zeros(3, [("r", "f4"), ("g", "f4")]), a(3)), DtypeError, "a dtype among", "'r'"),
    "masked values": (lambda: convolve(np.ma.array([1.0, 2.0], mask=[0, 1]), a(3)), DtypeError, "without a mask", "masked"),
    "integers over max-plus": (lambda: convolve([1, 2], [3], over="max-plus"), DtypeError, "max-plus computes with", "int64"),
    "floats over the integers": (lambda: convolve(a(5), a(3), over="integer"), DtypeError, "integer computes with", "float64"),
    "complex over the reals": (lambda: convolve(a(5) * 1j, a(3), over="real"), DtypeError, "real computes with", "complex128"),
    "floats over booleans": (lambda: convolve(a(5), a(3), over="boolean"), DtypeError, "boolean computes with", "float64"),
    "an unknown algebra": (lambda: convolve(a(5), a(3), over="min-times"), ArgumentError, "boolean, max-plus, min-plus", "'min-times'"),
    "an unknown domain": (lambda: convolve(a(5), a(3), on="sphere"), ArgumentError, "grid", "'sphere'"),
    "an unknown result type": (lambda: convolve(a(5), a(3), dtype="float31"), DtypeError, "a result type for real", "float31"),
    "real results of complex values": (lambda: convolve(a(5) * 1j, a(3), dtype="float64"), DtypeError, "for complex values", "float64"),
    "truth values of reals": (lambda: convolve(a(5), a(3), dtype=bool), DtypeError, "for real values", "bool"),
    "objects for a result": (lambda: convolve(a(5), a(3), dtype=object), DtypeError, "for real values", "object"),
    # exactness
    "sums beyond 64 bits": (lambda: convolve(np.full(3, 2**40), np.full(3, 2**40)), ExactnessError, "within ±9223372036854775807", "3626777458843887524118528"),
    "unsigned beyond 63 bits with signed": (
        lambda: convolve(np.full(3, 2**63, "uint64"), np.full(3, -1)), ExactnessError, "within ±9223372036854775807", "27670116110564327424",
    ),
    "a constant that leads beyond": (lambda: convolve(a(4, dtype="int32"), np.full(3, 2**31 - 1, "int32"), boundary=1e17), ExactnessError, "int64", "may reach 6442"),
    # policies
    "a policy that is none": (lambda: convolve(a(5), a(3), policy={"only": "fft"}), ArgumentError, "a faltung.Policy", "{'only': 'fft'}"),
    "tolerance 0": (lambda: Policy(tolerance=0.0), ArgumentError, "between 0 and 1", "0.0"),
    "tolerance 2": (lambda: Policy(tolerance=2), ArgumentError, "between 0 and 1", "2"),
    "a word for tolerance": (lambda: Policy(tolerance="small"), ArgumentError, "a number", "'small'"),
    "no memory at all": (lambda: Policy(memory=0), ArgumentError, "at least one byte", "0"),
    "no threads": (lambda: Policy(threads=0), ArgumentError, "at least one thread", "0"),
    "half a thread": (lambda: Policy(threads=1.5), ArgumentError, "threads", "1.5"),
    "a number for a method": (lambda: Policy(only=3), ArgumentError, "a method's name", "3"),
    "an unknown method": (lambda: forced("fastest"), ArgumentError, "definition, direct", "'fastest'"),
    "an unknown method forbidden": (lambda: convolve(a(5), a(3), policy=Policy(without=("fastest",))), ArgumentError, "definition, direct", "'fastest'"),
    "a policy's line with a typing error": (lambda: Policy.parse("tolerence=1e-3"), ArgumentError, "tolerance", "'tolerence=1e-3'"),
    "a policy's line with half a truth": (lambda: Policy.parse("deterministic=maybe"), ArgumentError, "deterministic", "'deterministic=maybe'"),
    "all methods forbidden": (
        lambda: convolve(a(5), a(3), policy=Policy(only=("fft",), without=("fft",))), RefusedError, "a method for", "the policy forbids it",
    ),
    # forced methods that refuse
    "fft of integers": (lambda: forced("fft", [1, 2, 3], [1, 1]), RefusedError, "a method for", "fft: rounds, and integer results are exact"),
    "fft over max-plus": (lambda: forced("fft", over="max-plus"), RefusedError, "a method for", "needs subtraction, which max-plus"),
    "blocks of booleans": (lambda: forced("blocks", a(5, dtype=bool), a(3, dtype=bool)), RefusedError, "a method for", "blocks: has no vectors"),
    "separable in 1-D": (lambda: forced("separable"), RefusedError, "a method for", "needs taps along two axes at least, the filter is (3,)"),
    "running sums with gaps": (lambda: forced("running", dilation=2), RefusedError, "a method for", "the dilation is (2,)"),
    "running sums of a ramp": (lambda: forced("running", a(99, dtype="float32"), np.arange(9, dtype="float32")), RefusedError, "a filter for running", "it does not fit"),
    "winograd with a stride": (lambda: forced("winograd", stride=2), RefusedError, "a method for", "needs stride and dilation 1, they are (2,)"),
    "onednn of NumPy arrays": (lambda: forced("onednn"), RefusedError, "a method for", "NumPy arrays came"),
    "an adjoint for a result": (lambda: forced("transposed"), RefusedError, "a method for", "computes the adjoint for x only"),
    "a tolerance that none can keep": (
        lambda: convolve(a(99), a(9), policy=Policy(only=("fft", "direct"), tolerance=1e-18)), RefusedError, "a method for", "above the tolerance 1.0e-18",
    ),
    "NaN for spreading methods only": (
        lambda: forced("fft", np.array([1.0, np.nan, 2.0])), RefusedError, "finite values", "a result that is not finite",
    ),
    "a gradient over truth values": (
        lambda: plan_problem(Problem.parse(problem(x="8:bool", k="3:bool", out="bool", algebra="boolean", unknown="x"))),
        RefusedError, "a method for", "gradients over boolean do not exist",
    ),
    # memory
    "a budget of a hundred bytes": (lambda: convolve(a(1000), a(3), policy=Policy(memory=100)), MemoryBudgetError, "100 B", "the memory budget is 100 B"),
    "a result larger than the machine": (lambda: plan(Spec((10**6, 10**6)), Spec((3, 3))), MemoryBudgetError, "a method within", "GiB"),
    "a signal larger than the universe": (lambda: plan(Spec((10**30,)), Spec((3,))), MemoryBudgetError, "within", "GiB"),
    # specs, plans, problems
    "a number for a shape": (lambda: Spec(5), ArgumentError, "a tuple of whole numbers", "5"),
    "half a sample": (lambda: Spec((5.5,)), ArgumentError, "whole numbers", "(5.5,)"),
    "a negative size": (lambda: Spec((-5,)), ArgumentError, "at least 0", "(-5,)"),
    "an unknown dtype": (lambda: Spec((5,), "float31"), DtypeError, "a dtype among", "float31"),
    "a plan for another shape": (lambda: plan(a(5), a(3))(a(6), a(3)), ArgumentError, "x of shape (5,)", "shape (6,)"),
    "a plan for another filter": (lambda: plan(a(5), a(3))(a(5), a(4)), ArgumentError, "k of shape (3,)", "shape (4,)"),
    "a plan for another dtype": (lambda: plan(a(5), a(3))(a(5) * 1j, a(3)), DtypeError, "x of dtype float64", "complex128"),
    "an integer plan given fractions": (lambda: plan([1, 2, 3], [1])(a(3) * 1.5, np.array([1])), DtypeError, "x of dtype int64", "float64"),
    "a plan without its filter": (lambda: plan(a(5), a(3))(a(5)), ArgumentError, "the arrays x, k", "no k"),
    "a prepared filter of another shape": (lambda: plan(a(5), a(3)).prepare(a(4)), ArgumentError, "k of shape (3,)", "shape (4,)"),
    "a signal of another shape": (lambda: plan(a(4, 6), a(3, 3)).prepare(a(3, 3))(a(6, 4)), ArgumentError, "x of shape (4, 6)", "shape (6, 4)"),
    "a gradient prepared": (lambda: plan_problem(Problem.parse(LINE + " unknown=x")).prepare(a(3)), ArgumentError, "whose unknown is the result", "unknown x"),
    "explaining what does not exist": (lambda: explain(a(5), a(3), mode="some"), ArgumentError, "'full', 'same', 'valid'", "'some'"),
    "a problem that is no line": (lambda: Problem.parse("multiply"), ArgumentError, "convolve", "'multiply'"),
    "a problem that is no text": (lambda: Problem.parse(5), ArgumentError, "convolve", "5"),
    "a line with an unknown word": (lambda: Problem.parse(LINE + " colour=red"), ArgumentError, "each of x, k", "'colour=red'"),
    "a line with a word twice": (lambda: Problem.parse(LINE + " pad=2:2"), ArgumentError, "at most once", "'pad=2:2'"),
    "a line without a filter": (lambda: Problem.parse('convolve "*s, *s -> *s" x=8:float32 pad=1:1'), ArgumentError, "x, k and pad", "x=8:float32 pad=1:1"),
    "a line with pads that are words": (lambda: Problem.parse(problem(pad="a:b")), ArgumentError, "whole numbers", "a:b"),
    "a line with an unknown unknown": (lambda: Problem.parse(LINE + " unknown=y"), ArgumentError, "'out', 'x' or 'k'", "'y'"),
    "a line with an unknown host": (lambda: Problem.parse(LINE + " host=mars"), ArgumentError, "numpy or torch", "mars"),
    "a line with too many pads": (lambda: Problem.parse(problem(pad="1:1,2:2")), ArgumentError, "1 entries", "2 (((1, 1), (2, 2)))"),
}
# fmt: on

BUILT_IN = {
    ArgumentError: ValueError,
    DtypeError: TypeError,
    ExactnessError: OverflowError,
    RefusedError: RuntimeError,
    MemoryBudgetError: MemoryError,
    MissingExtraError: ImportError,
}


def judge(call, kind, expected, came):
    with pytest.raises(FaltungError) as caught:
        call()
    assert type(caught.value) is kind, repr(caught.value)
    assert isinstance(caught.value, BUILT_IN[kind])
    message = str(caught.value)
    who, _, rest = message.partition(": expected ")
    before, _, after = rest.partition(", but got ")
    assert all((who, before, after)), message
    assert expected in before, message
    assert came in after, message
    assert after.rpartition("; ")[2].strip(), message  # the remedy
    assert "\n" not in message


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_says_what_is_wrong(name):
    judge(*WRONG[name])


def test_there_are_enough_wrong_calls():
    assert len(WRONG) >= 60


def test_tensors_and_arrays_do_not_mix():
    torch = pytest.importorskip("torch")
    judge(lambda: convolve(torch.ones(5), np.ones(3)), DtypeError, "of one kind", "a torch tensor and a NumPy array")
    judge(
        lambda: plan(np.ones(5), np.ones(3))(torch.ones(5, dtype=torch.float64), np.ones(3)),
        ArgumentError,
        "numpy arrays",
        "x from torch",
    )
    judge(lambda: convolve(torch.ones(5), torch.ones(3, 3)), ArgumentError, "as many spatial axes", "x (5,) with 1")
    judge(lambda: convolve(torch.ones(5), torch.ones(3), stride=0), ArgumentError, "at least 1", "(0,)")


@pytest.mark.skipif(find_spec("torch") is None, reason="needs torch to look for")
def test_a_missing_extra_is_named(monkeypatch):
    from faltung import arrays

    monkeypatch.setitem(sys.modules, "torch", None)
    judge(lambda: arrays.import_torch("a method"), MissingExtraError, "torch", "no installed torch")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0)[::2],
        np.asfortranarray(np.ones((4, 3)))[:, 1],
        np.broadcast_to(np.ones(1), 12),
        np.ones(12)[::-1],
    ],
)
def test_awkward_arrays_are_no_wrong_calls(array):
    """Not contiguous, read-only, reversed, of stride zero: arrays like others."""
    array.flags.writeable = False
    before = array.tobytes()
    assert np.allclose(convolve(array, [1.0, -2.0, 0.5]), np.convolve(array, [1.0, -2.0, 0.5]), rtol=0, atol=1e-12)
    assert array.tobytes() == before


def test_a_failed_call_leaves_the_next_one_right():
    for call, *_ in list(WRONG.values())[::5]:
        with pytest.raises(FaltungError):
            call()
    assert np.array_equal(convolve([1, 2, 3], [0, 1]), [0, 1, 2, 3])
