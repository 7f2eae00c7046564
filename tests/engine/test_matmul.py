"""Matrix products over algebras: the definition bit for bit, infinities, shapes, gradients of both kinds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import algebras
from faltung.engine import matmul
from faltung.errors import ArgumentError, DtypeError, ExactnessError, RefusedError
from faltung.kernels.semiring_product import contract

ORDERED = ["max-plus", "min-plus", "max-times", "max-min", "min-max"]


@pytest.mark.parametrize("over", [*ORDERED, "log", "boolean", "integer", "count", "rational", "modular(7)"])
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(m=st.integers(1, 20), k=st.integers(1, 20), n=st.integers(1, 70), seed=st.integers(0, 99))
def test_products_equal_the_definition(over, m, k, n, seed):
    random, algebra = np.random.default_rng(seed), algebras.named(over)
    kind = "bool" if over == "boolean" else "float32" if "float32" in algebra.dtypes else "int64"
    a, b = (random.integers(0, 2 if kind == "bool" else 9, s).astype(kind) for s in ((m, k), (k, n)))
    came = matmul(a, b, over=over)
    compute = algebra.compute(kind, kind)
    wanted = contract.product(a.astype(compute), b.astype(compute), algebra)
    if over == "log":
        assert np.allclose(came, wanted, rtol=0, atol=4 * k * 2.0**-24 * 20)
    else:
        assert np.array_equal(came, wanted)


@pytest.mark.parametrize(
    ("over", "zero"), [("max-plus", -np.inf), ("min-plus", np.inf), ("log", -np.inf), ("max-times", 0.0)]
)
def test_zero_annihilates_infinity_and_nothing_becomes_nan(over, zero):
    least = algebras.named(over).least
    infinite = max(-zero, least) if zero else np.inf
    assert matmul([[zero]], [[infinite]], over=over)[0, 0] == zero == matmul([[infinite]], [[zero]], over=over)[0, 0]
    random = np.random.default_rng(0)
    a, b = (random.choice([0.0, 1.0, 2.5, np.inf, max(-np.inf, least)], s) for s in ((30, 40), (40, 50)))
    assert not np.isnan(matmul(a, b, over=over)).any()
    a[3, 4] = np.nan
    assert np.isnan(matmul(a, b, over=over)[3]).all()
    assert not np.isnan(np.delete(matmul(a, b, over=over), 3, 0)).any()


@pytest.mark.parametrize("spread", [1.0, 100.0, 1e5])
def test_log_products_are_accurate_entry_by_entry(spread):
    random = np.random.default_rng(1)
    a, b = (random.standard_normal(s) * spread for s in ((40, 30), (30, 20)))
    a[random.random(a.shape) < 0.3] = -np.inf
    terms = a[:, :, None].astype(np.longdouble) + b[None]
    top = terms.max(1)
    wanted = top + np.log(np.exp(terms - top[:, None]).sum(1))
    size = 1 + np.abs(np.where(np.isfinite(terms), terms, 0)).max(1)
    assert (np.abs(matmul(a, b, over="log") - wanted) <= 4 * 30 * 2.0**-53 * size).all()


def test_stacks_and_vectors_are_those_of_numpy():
    random = np.random.default_rng(2)
    for shapes in (((2, 1, 3, 4), (5, 4, 6)), ((4,), (4, 3)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4,))):
        a, b = (random.integers(-9, 9, s) for s in shapes)
        assert np.array_equal(matmul(a, b), np.matmul(a, b))
        assert matmul(a.astype("float32"), b.astype("float32"), over="max-plus").shape == np.matmul(a, b).shape


def test_results_keep_their_dtype_and_do_not_depend_on_threads():
    a = np.random.default_rng(3).standard_normal((90, 70)).astype("float16")
    assert matmul(a, a.T, over="max-plus").dtype == "float16"
    assert matmul(a > 0, a.T > 0).dtype == bool
    from faltung.kernels.semiring_product.on_numba import product

    wide = a.astype("float32")
    results = [product(wide, wide.T.copy(), algebras.named("min-plus"), t).tobytes() for t in (1, 2)]
    assert results[0] == results[1]


def test_what_is_no_product_is_refused():
    with pytest.raises(ArgumentError, match="turn one of them"):
        matmul(np.ones((2, 3)), np.ones((2, 3)), over="max-plus")
    with pytest.raises(ArgumentError, match="leading axes"):
        matmul(np.ones((2, 3, 4)), np.ones((3, 4, 5)), over="max-plus")
    with pytest.raises(DtypeError):
        matmul(np.ones((2, 2), complex), np.ones((2, 2)), over="max-plus")
    with pytest.raises(ExactnessError):
        matmul(np.full((1, 9), 1 << 31), np.full((9, 1), 1 << 31))
    with pytest.raises(ArgumentError, match="at least 0"):
        matmul([[-1.0]], [[1.0]], over="max-times")


@pytest.mark.parametrize("over", [*ORDERED, "log"])
def test_gradients(over):
    torch = pytest.importorskip("torch")
    a, b = (torch.rand(s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 4), (4, 5)))
    assert torch.autograd.gradcheck(lambda a, b: matmul(a, b, over=over), (a, b))


@pytest.mark.parametrize("over", ["max-plus", "min-plus"])
def test_choices_are_the_first_and_sum_to_the_incoming_gradient(over):
    torch = pytest.importorskip("torch")
    a, b = (torch.randint(0, 3, s).double().requires_grad_() for s in ((30, 20), (20, 25)))
    g = torch.randint(-5, 6, (30, 25)).double()
    matmul(a, b, over=over).backward(g)
    terms = (a[:, :, None] + b[None]).detach().numpy()
    first = (terms.argmax if over == "max-plus" else terms.argmin)(1)  # of equal ones NumPy names the first
    wanted = np.zeros((30, 20))
    np.add.at(wanted, (np.arange(30)[:, None], first), g.numpy())
    assert np.array_equal(a.grad.numpy(), wanted)
    assert a.grad.sum() == b.grad.sum() == g.sum()


def test_log_gradients_twice_and_far_below_the_maxima():
    torch = pytest.importorskip("torch")
    a, b = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((3, 4), (4, 2)))
    assert torch.autograd.gradgradcheck(lambda a, b: matmul(a, b, over="log"), (a, b))
    far = torch.tensor([[0.0, -2000.0]], dtype=torch.float64, requires_grad=True)
    other = torch.tensor([[-2000.0], [0.5]], dtype=torch.float64, requires_grad=True)
    matmul(far, other, over="log").backward()
    share = torch.softmax((far[0] + other[:, 0]).detach(), 0)
    assert torch.allclose(far.grad[0], share)
    assert torch.allclose(other.grad[:, 0], share)


def test_what_torch_composes_elsewhere_is_the_same():
    torch = pytest.importorskip("torch")
    from faltung.engine.matmul_torch import composed

    for over in (*ORDERED, "log"):
        a, b = torch.rand(2, 9, 4, dtype=torch.float64), torch.rand(2, 4, 5, dtype=torch.float64)
        a[0, 0, 0], b[0, 0, 0] = torch.inf, -torch.inf if over not in ("max-times",) else 0.0
        assert torch.allclose(composed(a, b, algebras.named(over)), matmul(a, b, over=over)), over


def test_second_derivatives_of_maxima_are_refused():
    torch = pytest.importorskip("torch")
    a = torch.rand(3, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(matmul(a, a, over="max-plus").sum(), a, create_graph=True)
    with pytest.raises((RuntimeError, RefusedError)):
        grad.sum().backward()
