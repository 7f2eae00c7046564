"""InvertibleConv: solved exactly by three independent ways, its determinant and its stability known, and nothing breaks that."""

import math

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.kernels.triangular.on_numba import layout
from faltung.nn.functional import SOLVERS, causal_conv, causal_solve, causal_solvers, inverse_kernel, newton_steps
from faltung.nn.triangular.invertible import corners

SIZES = {1: (11,), 2: (7, 4), 3: (3, 5, 4), 4: (2, 3, 4, 2)}


def made(ndim, channels=None, kernel_size=3, dtype=torch.float64, **options):
    torch.manual_seed(3)
    return nn.InvertibleConv(ndim, channels or 2 * 2**ndim, kernel_size, dtype=dtype, **options)


def test_reference_numbers_of_one_channel():
    """Taps (1, 0.5): the inverse answers 1, −1/2, 1/4, −1/8, ... by every solver."""
    for method in SOLVERS:
        layer = nn.InvertibleConv(1, 1, 2, orders=("L",), inverse=method, dtype=torch.float64)
        layer.weight.data.fill_(0.5)
        impulse = torch.zeros(1, 1, 6, dtype=torch.float64)
        impulse[..., 0] = 1
        wanted = torch.tensor([(-0.5) ** n for n in range(6)], dtype=torch.float64)
        torch.testing.assert_close(layer.inverse(impulse)[0, 0], wanted, rtol=0, atol=1e-12)
        torch.testing.assert_close(layer.inverse_kernel((6,))[0, 0].flip(0), wanted, rtol=0, atol=1e-12)


def test_without_a_learnt_diagonal_the_log_determinant_is_exactly_zero():
    layer = made(2)
    assert layer(torch.randn(3, 8, 5, 6, dtype=torch.float64))[1].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_round_trip(ndim, kernel_size, method, dtype, tolerance):
    layer = made(ndim, kernel_size=kernel_size, dtype=dtype, inverse=method)
    for size in (SIZES[ndim], SIZES[ndim][::-1]):  # higher than wide, and wider than high
        x = torch.randn(2, layer.channels, *size, dtype=dtype)
        back = layer.inverse(layer(x)[0])
        assert (back - x).abs().max() <= tolerance * x.abs().max()


def test_round_trip_in_four_dimensions():
    layer = made(4, kernel_size=2)
    x = torch.randn(1, layer.channels, *SIZES[4], dtype=torch.float64)
    torch.testing.assert_close(layer.inverse(layer(x)[0]), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", corners(2))
def test_the_jacobian_is_triangular_with_a_diagonal_of_ones(order):
    layer = nn.InvertibleConv(2, 2, 3, orders=(order,), dtype=torch.float64)
    size = (2, 3, 4)
    matrix = torch.func.jacrev(lambda x: layer(x)[0])(torch.randn(1, *size, dtype=torch.float64)).reshape(24, 24)
    # In raster order from the corner, the channels of a position one after the other.
    positions = torch.arange(24).reshape(size).flip([1 + a for a, f in enumerate(layer.flips[0]) if f])
    order_of = positions.permute(1, 2, 0).reshape(-1)
    matrix = matrix[order_of][:, order_of]
    assert torch.equal(matrix.triu(1), torch.zeros_like(matrix))
    assert torch.equal(matrix.diagonal(), torch.ones(24, dtype=torch.float64))
    assert (matrix.tril(-1) != 0).any()


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_all_solvers_agree(ndim):
    y = torch.randn(2, 2 * 2**ndim, *SIZES[ndim], dtype=torch.float64)
    layer = made(ndim)
    flat = [layer.flips, None]
    found = {method: causal_solve(y, layer.kernel(), *flat, method) for method in SOLVERS}
    for method, x in found.items():
        torch.testing.assert_close(x, found["wavefront"], rtol=0, atol=1e-11, msg=method)
    # The wavefront in torch, which serves accelerators, is the compiled one's.
    plain = made(ndim, orders=(corners(ndim)[0],), channels=2)
    weight, signal = plain.kernel().detach()[None], y[:, None, :2]
    offsets, taps, corner = causal_solvers.recurrence(weight, tuple(n - 1 for n in plain.kernel_size))
    r = torch.matmul(corner, signal.flatten(3)).unflatten(-1, signal.shape[3:])
    torch.testing.assert_close(
        causal_solvers.wavefront(r, taps, offsets)[:, 0], plain.inverse(y[:, :2]), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("size", [(6, 5), (5, 6), (32, 32), (1, 9), (9, 1), (3, 4, 5)])
def test_the_wavefront_takes_as_many_steps_as_there_are_diagonals(size):
    layer = made(len(size))
    offsets, _, _ = causal_solvers.recurrence(layer.kernel()[None, :2], (2,) * len(size))
    plan = layout(size, offsets, 2, 1)
    diagonals = {sum(p) for p in torch.cartesian_prod(*map(torch.arange, size)).tolist()}
    assert layer.steps(size) == plan.steps == len(diagonals) == sum(size) - len(size) + 1
    assert sum(plan.counts) == math.prod(size)  # every position once


@pytest.mark.parametrize(
    ("size", "steps"), [((6, 5), 4), ((1, 1), 0), ((2, 1), 1), ((8, 1), 3), ((9, 1), 4), ((32, 32), 6)]
)
def test_newton_needs_exactly_its_doublings(size, steps):
    layer = made(2)
    kernel = layer.kernel().detach() * 4  # far from the identity, so that a missing doubling shows
    kernel[..., -1, -1] = layer.corner().detach().flatten(0, 1)
    assert newton_steps(size) == steps == math.ceil(math.log2(size[0] + size[1] - 1))
    impulse = torch.zeros(2, 8, *size, dtype=torch.float64)
    impulse[0, ::2, 0, 0] = impulse[1, 1::2, 0, 0] = 1
    flips = ((False, False),) * 4
    wanted = causal_solve(impulse, kernel, flips, None, "wavefront")  # (input, output, *size)
    for doublings in range(steps + 1):
        found = inverse_kernel(kernel, size, 4, doublings).flip(2, 3).transpose(0, 1)
        error = ((found - wanted).abs().max() / wanted.abs().max()).item()
        assert (error < 1e-11) == (doublings == steps), (doublings, error)


def test_the_inverse_kernel_inverts():
    layer = made(2)
    y = torch.randn(2, 8, 6, 5, dtype=torch.float64)
    kernel = layer.inverse_kernel((6, 5))
    torch.testing.assert_close(layer.inverse(y, kernel), layer.inverse(y), rtol=0, atol=1e-11)
    assert torch.equal(layer.inverse(y, kernel), causal_conv(y, kernel, layer.flips))


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_the_constraint_survives_any_optimiser_with_weight_decay(optimiser):
    layer = made(2)
    steps = optimiser(layer.parameters(), lr=0.02, weight_decay=0.3)
    x = torch.randn(4, 8, 5, 5, dtype=torch.float64)
    before = layer.kernel().detach().clone()
    for _ in range(5):  # gradients pile up: nothing is reset between the steps
        (layer(x)[0] ** 4).mean().backward()
        steps.step()
    corner = layer.kernel()[..., -1, -1].unflatten(0, (4, 2))
    assert torch.equal(corner.triu(), torch.eye(2, dtype=torch.float64).expand(4, 2, 2))
    assert not torch.equal(layer.kernel(), before)
    torch.testing.assert_close(layer.inverse(layer(x)[0]), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", ["wavefront", "newton", "scan"])
def test_the_inverse_is_differentiable(method):
    layer = made(2, 4, 2, learn_diag=True, inverse=method)
    y = torch.randn(1, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters(), strict=True)

    def inverse(y, *values):
        return torch.func.functional_call(
            _Backwards(layer), {f"layer.{n}": v for n, v in zip(names, values, strict=True)}, y
        )

    torch.autograd.gradcheck(inverse, (y, *values))
    torch.autograd.gradgradcheck(inverse, (y, *values), fast_mode=True)


class _Backwards(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, y):
        return self.layer.inverse(y)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated.*:DeprecationWarning")  # torch on its own tracing
def test_the_inverse_compiles_and_batches():
    layer = made(2, dtype=torch.float32)
    y = torch.randn(2, 8, 4, 5)
    torch._dynamo.reset()
    compiled = torch.compile(_Backwards(layer), fullgraph=True, backend="aot_eager")
    calls = (compiled, _Backwards(layer))
    grads = [torch.autograd.grad((call(y) ** 2).sum(), list(layer.parameters())) for call in calls]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(torch.vmap(layer.inverse)(y[None].expand(3, -1, -1, -1, -1))[1], layer.inverse(y))
    kernels = torch.stack([layer.kernel(), 2 * layer.kernel()])
    many = torch.vmap(lambda w: causal_solve(y, w, layer.flips))(kernels)
    torch.testing.assert_close(many[1], layer.inverse(y) / 2)
    torch.library.opcheck(
        torch.ops.faltung.causal_solve.default, (y, layer.kernel().detach(), [2, 2], [0] * 8, "wavefront")
    )


def test_gain_and_certificate():
    """The computed gain is that of the inverse's matrix, and the certificate bounds it at every size."""
    layer = made(2, orders=("TL", "BR"), channels=4, learn_diag=True)
    layer.log_diag.data.copy_(torch.tensor([0.3, -0.2, 0.1, 0.4]))
    layer.weight.data.mul_(0.5)
    size = (4, 4, 3)
    matrix = torch.func.jacrev(layer.inverse)(torch.zeros(1, *size, dtype=torch.float64)).reshape(48, 48)
    assert layer.inverse_gain(size[1:]) == pytest.approx(matrix.abs().sum(1).max().item(), rel=1e-12)
    assert layer.contraction() < 1
    for size in ((1, 1), (4, 3), (16, 9), (40, 40)):
        assert layer.inverse_gain(size) <= layer.inverse_bound() * (1 + 1e-12)


def test_a_kernel_whose_inverse_blows_up_is_not_certified():
    """Part of a kernel from a bug report of an earlier method: its own tap is the smallest."""
    layer = nn.InvertibleConv(2, 1, 2, orders=("TL",), learn_diag=True, dtype=torch.float64)
    layer.weight.data.copy_(torch.tensor([[[0.8033, 0.1748, -0.6137]]]))
    layer.log_diag.data.fill_(math.log(0.0462))
    assert layer.contraction() > 30
    assert layer.inverse_bound() == math.inf
    assert layer.inverse_gain((8, 8)) > 1e10


def test_taps_at_the_anchor_and_behind_are_not_taken_for_earlier_ones():
    with pytest.raises(ArgumentError, match="has an inverse"):
        causal_solve(torch.ones(1, 1, 4), torch.tensor([[[1.0, 0.0]]]), [[False]])
    with pytest.raises(ArgumentError, match="use the wavefront"):
        causal_solve(torch.ones(1, 1, 4), torch.ones(1, 1, 3), [[False]], (1,), "newton")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"ndim": 2, "channels": 6}, ArgumentError),
        ({"ndim": 2, "channels": 4, "orders": ("LT",)}, ArgumentError),
        ({"ndim": 5, "channels": 32}, ArgumentError),
        ({"ndim": 1, "channels": 2, "inverse": "magic"}, ArgumentError),
        ({"ndim": 1, "channels": 2, "dtype": torch.complex64}, DtypeError),
    ],
)
def test_wrong_settings_are_refused(arguments, error):
    with pytest.raises(error):
        nn.InvertibleConv(**arguments)
