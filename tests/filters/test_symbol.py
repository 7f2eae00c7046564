"""The symbol against dense matrices: on every grid its blocks have exactly the operator's singular values."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.errors import ArgumentError
from faltung.filters import Symbol

few = settings(max_examples=60, deadline=None)


@st.composite
def operators(draw):
    """(weight, stride, dilation, groups, n): a circular operator whose result has n places an axis."""
    ndim = draw(st.integers(1, 3))
    top = {1: 6, 2: 3, 3: 2}[ndim]
    sizes = [tuple(draw(st.integers(1, high)) for _ in range(ndim)) for high in (top, 3, 3, top)]
    groups, out, into = (draw(st.integers(1, 2)) for _ in range(3))
    kernel, stride, dilation, n = sizes
    seed = draw(st.integers(0, 2**32 - 1))
    weight = np.random.default_rng(seed).standard_normal((groups * out, into, *kernel))
    return weight, stride, dilation, groups, n


def dense(weight, stride, dilation, groups, n):
    """The matrix of the circular operator, written tap by tap."""
    out, into = weight.shape[:2]
    large = tuple(a * s for a, s in zip(n, stride, strict=True))
    matrix = np.zeros((out, *n, groups * into, *large))
    for o, i, p, t in itertools.product(range(out), range(into), np.ndindex(n), np.ndindex(weight.shape[2:])):
        place = tuple((a * s + b * d) % m for a, s, b, d, m in zip(p, stride, t, dilation, large, strict=True))
        matrix[(o, *p, o // (out // groups) * into + i, *place)] += weight[(o, i, *t)]
    return matrix.reshape(out * math.prod(n), -1)


@few
@given(operators())
def test_blocks_have_the_singular_values_of_the_dense_matrix(drawn):
    weight, stride, dilation, groups, n = drawn
    symbol = Symbol(weight, stride, dilation, groups)
    matrix = dense(weight, stride, dilation, groups, n)
    ours = np.sort(symbol.singular_values(n).ravel())[::-1]
    exact = np.linalg.svd(matrix, compute_uv=False)
    size = max(len(ours), len(exact))  # one of them may hold further zeros
    ours, exact = (np.pad(v, (0, size - len(v))) for v in (ours, exact))
    assert np.abs(ours - exact).max() < 1e-12 * max(1, exact[0])
    assert abs(symbol.norm(n) - exact[0]) < 1e-12 * max(1, exact[0])


@few
@given(operators())
def test_samples_are_values_and_half_of_them_say_all(drawn):
    weight, stride, dilation, groups, n = drawn
    symbol = Symbol(weight, stride, dilation, groups)
    omega = np.stack(np.meshgrid(*(2 * np.pi * np.arange(a) / a for a in n), indexing="ij"), -1)
    assert np.allclose(symbol.sample(n), symbol.at(omega), atol=1e-12)
    assert np.array_equal(symbol.sample(n, half=True).shape[:-2], (groups, *n[:-1], n[-1] // 2 + 1))
    every, some = symbol.singular_values(n)[..., 0], symbol.singular_values(n, half=True)[..., 0]
    assert np.allclose([every.min(), every.max()], [some.min(), some.max()], atol=1e-12)


@few
@given(operators())
def test_tensors_give_what_arrays_give(drawn):
    weight, stride, dilation, groups, n = drawn
    ours, theirs = Symbol(weight, stride, dilation, groups), Symbol(torch.tensor(weight), stride, dilation, groups)
    for name, arguments in (
        ("sample", (n,)),
        ("sample", (n, True)),
        ("blocks", (n,)),
        ("singular_values", (n,)),
        ("at", (0.3,)),
    ):
        found = getattr(theirs, name)(*arguments)
        assert isinstance(found, torch.Tensor)
        assert np.allclose(getattr(ours, name)(*arguments), found.numpy(), atol=1e-11)
    assert np.allclose(ours.gram().weight, theirs.gram().weight.numpy(), atol=1e-12)


@few
@given(operators())
def test_less_stride_and_dilation_have_the_same_norm_over_all_sizes(drawn):
    weight, stride, dilation, groups, _ = drawn
    symbol, n = (
        Symbol(weight, stride, dilation, groups),
        25,
    )  # prime to every dilation, which then permutes the frequencies
    n = 5 if weight.ndim == 5 else n
    assert abs(symbol.norm(n) - symbol.reduced().norm(n)) < 1e-11 * symbol.norm(n)


@few
@given(operators())
def test_gram_is_the_operator_times_its_adjoint(drawn):
    weight, stride, dilation, groups, n = drawn
    symbol = Symbol(weight, stride, dilation, groups)
    blocks = symbol.blocks(n)
    phases = symbol.polyphase()
    shift = (np.array(phases.size) - 1) * phases.dilation
    omega = np.stack(np.meshgrid(*(2 * np.pi * np.arange(a) / a for a in n), indexing="ij"), -1)
    turn = np.exp(1j * (omega @ shift))[..., None, None]
    adjoint = blocks.conj().swapaxes(-1, -2)
    assert np.allclose(symbol.gram().sample(n) * turn, blocks @ adjoint, atol=1e-10)
    other = symbol.gram("in").sample(n) * turn
    assert np.allclose(other, blocks.swapaxes(-1, -2) @ blocks.conj(), atol=1e-10)


def test_known_suprema():
    sobel = np.outer([1, 2, 1], [1, 0, -1])[None, None]
    laplacian = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    assert abs(Symbol(sobel).norm(8) - 8) < 1e-12
    assert abs(Symbol(laplacian).norm(8) - 8) < 1e-12
    assert abs(Symbol(np.ones((1, 1, 3, 3))).norm(5) - 9) < 1e-12
    assert abs(Symbol(laplacian).dc()).max() < 1e-12
    assert abs(Symbol(laplacian).nyquist() + 8).max() < 1e-12


def test_gradients_pass_through():
    weight = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: Symbol(w, stride=2, dilation=3).norm(5), weight)
    assert torch.autograd.gradcheck(lambda w: Symbol(w, stride=2).gram().weight, weight)


def test_layers_are_read():
    conv = torch.nn.Conv2d(4, 6, 3, stride=2, dilation=(1, 2), groups=2)
    symbol = Symbol.of(conv)
    assert (symbol.stride, symbol.dilation, symbol.groups, symbol.channels) == ((2, 2), (1, 2), 2, (3, 2))
    assert Symbol.of(torch.nn.ConvTranspose1d(4, 6, 3)).transposed
    from faltung.nn import Conv2d

    assert Symbol.of(Conv2d(4, 6, 3, groups=2)).channels == (3, 2)
    with pytest.raises(ArgumentError, match="a convolution layer"):
        Symbol.of(torch.nn.Linear(3, 3))


def test_transposed_layers_of_ours_are_adjoints():
    from faltung.nn import ConvTranspose, PHConvTranspose

    for layer in (
        ConvTranspose(1, 4, 6, 3, stride=2, groups=2, bias=False, padding_mode="circular", padding=1, output_padding=1),
        PHConvTranspose(1, 2, 4, 6, 3, stride=2, bias=False, padding_mode="circular", padding=1, output_padding=1),
    ):
        layer = layer.double()
        symbol = Symbol.of(layer)
        assert symbol.transposed
        columns = layer(torch.eye(4 * 5, dtype=torch.float64).reshape(-1, 4, 5)).flatten(1)
        ours = symbol.singular_values((5,)).flatten().sort().values
        torch.testing.assert_close(ours, torch.linalg.svdvals(columns.detach()).sort().values, atol=1e-10, rtol=1e-10)


def test_layers_that_are_more_than_a_convolution_are_refused():
    from faltung import nn

    for layer in (
        nn.UpsampleConv(1, 4, 4, 3, mode="transposed"), nn.UpsampleConv(1, 4, 4, 3), nn.SubPixelConv(1, 2, 2, 3, 2),
        nn.LongConv1d(3, 9), nn.DeformConv(1, 2, 2, 3), nn.LocallyConnected(1, 2, 2, 3, 9),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=f"Symbol.of: .*{type(layer).__name__}"):
            Symbol.of(layer)
    placed = nn.CoordConv(1, 2, 3, 3)  # a convolution and constants
    assert torch.equal(Symbol.of(placed).weight, placed.effective_kernel())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"weight": np.ones((2, 2))}, "at least one spatial axis"),
        ({"weight": np.ones((3, 2, 2)), "groups": 2}, "2 groups divide"),
        ({"weight": np.ones((3, 2, 2)), "stride": 0}, "stride"),
        ({"weight": np.ones((3, 2, 2)), "dilation": (1, 1)}, "dilation with 1 numbers"),
    ],
)
def test_wrong_kernels_are_refused(arguments, word):
    with pytest.raises(ArgumentError, match=word):
        Symbol(**arguments)


def test_importing_the_room_needs_no_torch():
    import subprocess

    code = "import sys, faltung.filters; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
