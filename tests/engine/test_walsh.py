"""Walsh–Hadamard, zeta and Möbius transforms: definitions, convolutions made diagonal, orders, norms, gradients, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from faltung.engine import fwht, zeta
from faltung.engine.walsh_torch import ADJOINT, composed
from faltung.errors import ArgumentError, DtypeError, ExactnessError

lengths = st.integers(0, 7).map(lambda m: 1 << m)
seeds = st.integers(0, 2**32 - 1)
NAMES = {"or": np.bitwise_or, "and": np.bitwise_and, "xor": np.bitwise_xor}


def convolved(x, k, joined):
    """The definition: `y[w] = Σ over u∘v = w of x[u] k[v]`."""
    n = len(x)
    y, places = np.zeros(n, np.result_type(x, k)), np.arange(n)
    np.add.at(y, NAMES[joined](places[:, None], places[None]), x[:, None] * k[None])
    return y


def integers(n, seed, top=1000):
    return np.random.default_rng(seed).integers(-top, top, n)


def test_the_known_example():
    assert fwht([1, 2, 3, 4]).tolist() == [10, -2, -4, 0]


@given(lengths, seeds)
def test_natural_order_is_the_product_with_hadamards_matrix(n, seed):
    x = integers(n, seed)
    assert np.array_equal(fwht(x), hadamard(n) @ x)
    assert np.array_equal(fwht(fwht(x)), n * x)


@given(lengths, seeds)
def test_convolutions_become_products_exactly(n, seed):
    x, k = integers(n, seed), integers(n, seed + 1)
    product = fwht(x) * fwht(k)
    assert np.array_equal(fwht(convolved(x, k, "xor")), product)
    assert np.array_equal(fwht(product), n * convolved(x, k, "xor"))
    for joined, order in (("or", "subset"), ("and", "superset")):
        product = zeta(x, order=order) * zeta(k, order=order)
        assert np.array_equal(zeta(product, order=order, inverse=True), convolved(x, k, joined))


@pytest.mark.parametrize("n", [1, 2, 4, 8, 64])
def test_sequency_counts_sign_changes(n):
    rows = fwht(np.eye(n), axis=0, order="sequency")
    assert [int((np.diff(row) != 0).sum()) for row in rows] == list(range(n))
    assert np.array_equal(rows, rows.T)


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_dyadic_rows_are_products_of_rademacher_functions(n):
    rows = fwht(np.eye(n), axis=0, order="dyadic")
    places = np.arange(n)
    for k in range(n):
        wanted, m = np.ones(n), n.bit_length() - 1
        for bit in range(m):
            if k >> bit & 1:
                wanted *= 1 - 2.0 * (places >> (m - 1 - bit) & 1)
        assert np.array_equal(rows[k], wanted)


@given(lengths, seeds, st.sampled_from(["natural", "sequency", "dyadic"]))
def test_every_order_gives_the_same_convolution(n, seed, order):
    x, k = integers(n, seed, 50), integers(n, seed + 1, 50)
    assert np.array_equal(fwht(fwht(x, order=order) * fwht(k, order=order), order=order), n * convolved(x, k, "xor"))


@given(
    lengths, seeds, st.sampled_from([0, 1, 2, -2]), st.sampled_from(["float32", "float64", "complex64", "complex128"])
)
@settings(max_examples=50)
def test_norms_and_axes(n, seed, axis, dtype):
    shape = [3, 2, 5]
    shape[axis] = n
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    x = x + (1j * x[::-1]).astype(dtype) if dtype.startswith("c") else x
    kept = x.copy()
    y = fwht(x, axis)
    assert y.dtype == dtype
    wanted = np.moveaxis(np.tensordot(hadamard(n).astype(float), x, ([1], [axis])), 0, axis)
    near = 1e-5 if dtype in ("float32", "complex64") else 1e-13
    np.testing.assert_allclose(y, wanted, rtol=0, atol=near * n)
    np.testing.assert_allclose(fwht(x, axis, norm="ortho") * n**0.5, wanted, rtol=0, atol=2 * near * n)
    np.testing.assert_allclose(fwht(fwht(x, axis), axis, norm="forward"), x, rtol=0, atol=near * n)
    np.testing.assert_allclose(
        fwht(np.moveaxis(x, 0, 2)[::-1], axis % 3 - 1), fwht(np.moveaxis(x, 0, 2)[::-1].copy(), axis % 3 - 1)
    )
    assert np.array_equal(x, kept)


@given(lengths, seeds, st.sampled_from(["subset", "superset"]), st.sampled_from(["add", "max", "min"]))
def test_zeta_is_its_definition(n, seed, order, operation):
    x, places = integers(n, seed), np.arange(n)
    join = {"add": np.sum, "max": np.max, "min": np.min}[operation]
    inside = (places[None] & places[:, None]) == (places[None] if order == "subset" else places[:, None])
    assert zeta(x, order=order, operation=operation).tolist() == [int(join(x[row])) for row in inside]
    if operation == "add":
        assert np.array_equal(zeta(zeta(x, order=order), order=order, inverse=True), x)


def test_small_integers_and_booleans_are_summed_in_int64():
    x = np.full(1 << 10, 255, np.uint8)
    assert fwht(x)[0] == zeta(x)[-1] == 255 << 10
    assert fwht(x > 0).dtype == zeta(x > 0).dtype == np.int64
    some = np.arange(8) == 2
    assert zeta(some, operation="max").tolist() == [False, False, True, True, False, False, True, True]
    assert zeta(np.arange(4, dtype=np.int8), operation="max").dtype == np.int8


@pytest.mark.parametrize("order", ["natural", "sequency", "dyadic"])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_tensors_give_the_same_and_gradients(order, norm):
    x = torch.randn(3, 8, 2, dtype=torch.float64, requires_grad=True)
    y = fwht(x, 1, order, norm)
    np.testing.assert_allclose(y.detach().numpy(), fwht(x.detach().numpy(), 1, order, norm), rtol=1e-14)
    assert torch.autograd.gradcheck(lambda t: fwht(t, 1, order, norm), x)
    assert torch.autograd.gradgradcheck(lambda t: fwht(t, 1, order, norm) ** 2, x)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("order", ["subset", "superset"])
def test_zeta_of_tensors(order, inverse):
    x = torch.randn(4, 16, dtype=torch.float64, requires_grad=True)
    np.testing.assert_allclose(
        zeta(x, order=order, inverse=inverse).detach().numpy(), zeta(x.detach().numpy(), order=order, inverse=inverse)
    )
    assert torch.autograd.gradcheck(lambda t: zeta(t, -1, order, inverse), x)
    assert torch.autograd.gradcheck(lambda t: zeta(t, 0, order, operation="max"), x)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own, for forward derivatives
def test_complex_gradients_batches_and_compiled_graphs():
    z = torch.randn(4, 8, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(fwht, z, check_forward_ad=True)
    jacobian = torch.func.jacrev(fwht)(torch.ones(8))
    assert torch.equal(jacobian, torch.func.jacfwd(fwht)(torch.ones(8)))
    assert np.array_equal(jacobian, hadamard(8))
    whole = torch.compile(lambda t: fwht(t, norm="ortho").abs().sum(), fullgraph=True, backend="aot_eager")
    assert torch.equal(
        torch.autograd.grad(whole(z), z)[0], torch.autograd.grad(fwht(z, norm="ortho").abs().sum(), z)[0]
    )
    x = torch.randn(5, 8, 3)
    assert torch.equal(torch.func.vmap(lambda t: fwht(t, 1), in_dims=2, out_dims=2)(x), fwht(x, 1))
    torch.testing.assert_close(torch.func.grad(lambda t: (fwht(t) ** 2).sum())(x[0, :, 0]), 16 * x[0, :, 0])
    torch.library.opcheck(torch.ops.faltung.pairs.default, (x, -2, "hadamard", 0.5))
    half = torch.randn(1 << 12).to(torch.bfloat16)
    assert fwht(half).dtype == torch.bfloat16
    torch.testing.assert_close(fwht(half).float(), fwht(half.float()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("step", ADJOINT)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128, torch.int64])
def test_what_other_devices_compute_is_the_same(step, dtype):
    for n in (1, 2, 16, 64, 512):
        x = torch.randint(-9, 9, (3, n, 2)).to(dtype)
        name, *rest = step.split("-")
        wanted = fwht(x, 1) if not rest else zeta(x, 1, name, rest[0] == "sub")
        assert torch.equal(composed(x, 1, step, 1.0), wanted)
        if dtype != torch.int64:
            assert torch.equal(composed(x, 1, step, 0.5), wanted * 0.5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fwht(np.ones(6)), ArgumentError, "pad with zeros to 8"),
        (lambda: fwht(np.ones((4, 0))), ArgumentError, "0 places"),
        (lambda: fwht(3.0), ArgumentError, "axis"),
        (lambda: fwht(np.ones(4), axis=1), ArgumentError, "axis"),
        (lambda: fwht(np.ones(4), order="walsh"), ArgumentError, "natural, sequency, dyadic"),
        (lambda: fwht(np.ones(4), norm="none"), ArgumentError, "backward"),
        (lambda: fwht([1, 2], norm="ortho"), ArgumentError, "int64"),
        (lambda: fwht(np.full(4, 2**61)), ExactnessError, "wrap"),
        (lambda: fwht(torch.full((4,), 2**61)), ExactnessError, "wrap"),
        (lambda: zeta(np.array([-(2**63), 0])), ExactnessError, "float64"),
        (lambda: zeta(np.ones(4), order="sub"), ArgumentError, "subset or superset"),
        (lambda: zeta(np.ones(4), operation="or"), ArgumentError, "add, max or min"),
        (lambda: zeta(np.ones(4), operation="max", inverse=True), ArgumentError, "inverse"),
        (lambda: zeta(np.ones(4) + 0j, operation="max"), DtypeError, "complex"),
        (lambda: fwht(["a", "b"]), DtypeError, "numbers"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
