"""Complex convolution by real ones, and the layers around it."""

import itertools
from contextlib import nullcontext

import pytest
import torch

from faltung import Policy
from faltung.errors import ArgumentError, DtypeError, RefusedError
from faltung.init import complex_
from faltung.nn import Conv, complex
from faltung.nn.functional import conv, conv_complex, conv_transpose

METHODS = ("auto", "direct", "4m", "3m")
C64, C128 = torch.complex64, torch.complex128
SETTINGS = [
    {},
    {"stride": 2, "padding": 1},
    {"groups": 2, "dilation": 2, "padding": "same"},
    {"padding": (1, 2), "padding_mode": "zeros", "groups": 2},
]


def drawn(*shape, dtype=C128):
    return torch.randn(*shape, dtype=dtype)


# The convolution


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(C128, 1e-12), (C64, 1e-5)])
def test_conv_is_torchs_on_complex_tensors(method, options, dtype, tolerance):
    x, bias = drawn(2, 4, 7, 8, dtype=dtype), drawn(6, dtype=dtype)
    weight = drawn(6, 4 // options.get("groups", 1), 3, 3, dtype=dtype)
    known = {k: v for k, v in options.items() if k != "padding_mode"}
    wanted = torch.nn.functional.conv2d(x, weight, bias, **known)
    got = conv_complex(x, weight, bias, **options, method=method)
    assert (got - wanted).abs().max() <= tolerance * wanted.abs().max()
    torch.testing.assert_close(conv_complex(x[0], weight, bias, **options, method=method), got[0])


@pytest.mark.parametrize("method", METHODS)
def test_conv_is_the_real_layer_of_block_kernels(method):
    x, weight = drawn(2, 3, 9), drawn(5, 3, 3)
    block = torch.cat([
        torch.cat([weight.real, -weight.imag], 1), torch.cat([weight.imag, weight.real], 1)
    ])  # fmt: skip
    real, imag = torch.conv1d(torch.cat([x.real, x.imag], 1), block).chunk(2, 1)
    torch.testing.assert_close(conv_complex(x, weight, method=method), torch.complex(real, imag))


@pytest.mark.parametrize("method", METHODS)
def test_a_phase_goes_through(method):
    x, weight, phase = drawn(1, 2, 6, 6), drawn(3, 2, 3, 3), torch.polar(torch.tensor(1.0), torch.tensor(1.2)).to(C128)
    torch.testing.assert_close(
        conv_complex(phase * x, weight, method=method), phase * conv_complex(x, weight, method=method)
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
def test_the_adjoint_is_the_transpose_with_the_conjugate_kernel(method, mode):
    options = {"stride": 2, "padding": 1, "padding_mode": mode}
    x, weight = drawn(2, 3, 8, 6), drawn(4, 3, 3, 3)
    forward = conv_complex(x, weight, method=method, **options)
    y = drawn(*forward.shape)
    back = conv_transpose(y, weight.conj().resolve_conj(), **options, output_size=x.shape[2:])
    torch.testing.assert_close((y.conj() * forward).sum(), (back.conj() * x).sum())


@pytest.mark.parametrize("method", METHODS)
def test_real_numbers_stay_real(method):
    x, weight = torch.randn(1, 2, 9).double(), torch.randn(3, 2, 3).double()
    got = conv_complex(x.to(C128), weight.to(C128), method=method)
    torch.testing.assert_close(got, conv(x, weight).to(C128))


@pytest.mark.parametrize("method", METHODS)
def test_conv_derivatives(method):
    x, weight, bias = (a.requires_grad_() for a in (drawn(1, 2, 5), drawn(2, 2, 2), drawn(2)))
    assert torch.autograd.gradcheck(lambda *given: conv_complex(*given, padding=1, method=method), (x, weight, bias))


def test_the_choice_is_one_of_the_methods():
    """Where many channels meet few taps real layers win, long filters of few channels go by transforms in complex arithmetic."""
    from faltung.nn.functional.complex import _expected

    def expected(*shapes):
        return _expected(*(torch.empty(shape, dtype=C64) for shape in shapes), (1, 1, 1, 1, "zeros"), None)

    assert expected((8, 64, 32, 32), (64, 64, 1, 1)) in ("4m", "3m")
    assert expected((1, 16, 64, 64), (16, 16, 15, 15)) == "direct"
    assert expected((1, 512, 32, 32), (512, 512, 3, 3)) == "3m"


def test_a_policy_that_no_complex_plan_fits_leaves_the_real_ones():
    x, weight = drawn(1, 2, 9, 9, dtype=C64), drawn(3, 2, 3, 3, dtype=C64)
    with pytest.raises(RefusedError):
        conv(x, weight, policy=Policy(only="onednn"))
    torch.testing.assert_close(conv_complex(x, weight, policy=Policy(only="onednn")), torch.conv2d(x, weight))
    with pytest.raises(RefusedError):
        conv_complex(x, weight, policy=Policy(only="envelope"))


def test_the_layer_keeps_one_complex_bias():
    layer = complex.Conv2d(2, 3, 3)
    torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1 + 2j, 3j, -1.0]))
    assert (layer(drawn(1, 2, 5, 5, dtype=C64))[0, :, 0, 0] == layer.bias).all()


def test_the_layer_takes_torchs_parameters():
    theirs = torch.nn.Conv2d(2, 4, 3, padding=1, dtype=C128)
    ours, plain = complex.Conv.from_torch(theirs), Conv.from_torch(theirs)
    x = drawn(1, 2, 6, 6)
    for layer in (ours, plain, ours.freeze()):
        torch.testing.assert_close(layer(x), theirs(x))
    assert type(ours.freeze()) is torch.nn.Conv2d


def test_wrong_convolutions_are_refused():
    x, weight = drawn(1, 2, 5), drawn(3, 2, 3)
    with pytest.raises(ArgumentError, match="a method among"):
        conv_complex(x, weight, method="5m")
    with pytest.raises(DtypeError, match="complex input"):
        conv_complex(x.real, weight)
    with pytest.raises(DtypeError, match="one dtype"):
        conv_complex(x.to(C64), weight)
    with pytest.raises(ArgumentError, match="channels"):
        conv_complex(drawn(1, 3, 5), weight, method="3m")
    with pytest.raises(ArgumentError, match="groups"):
        conv_complex(x, weight, groups=0)
    with pytest.raises(DtypeError, match="complex dtype"):
        complex.Conv2d(1, 1, 3, dtype=torch.float32)
    with pytest.raises(ArgumentError, match="a method among"):
        complex.Conv2d(1, 1, 3, method="2m")


# Normalisation


def covariance(z):
    """Of the two parts of each channel, by the count."""
    flat = torch.view_as_real(z.transpose(0, 1).flatten(1))
    flat = flat - flat.mean(1, keepdim=True)
    return flat.transpose(1, 2) @ flat / flat.shape[1]


def correlated(*shape):
    """Complex numbers whose parts differ in size, depend on each other and have a mean."""
    a, b = torch.randn(2, *shape, dtype=torch.float64)
    return torch.complex(3 * a + 1, 0.5 * b - 1.5 * a - 2)


@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_is_whitened(affine):
    y = complex.BatchNorm(3, affine=affine, dtype=C128)(correlated(16, 3, 20, 20))
    torch.testing.assert_close(covariance(y.detach()), torch.eye(2).double().expand(3, 2, 2) / 2, rtol=0, atol=1e-3)
    assert y.mean((0, 2, 3)).abs().max() < 1e-12


def test_batch_norm_in_training_is_its_definition():
    layer, x = complex.BatchNorm(3, dtype=C128), correlated(4, 3, 5)
    with torch.no_grad():
        layer.weight.add_(torch.randn(3, 3), alpha=0.3)
        layer.bias.add_(drawn(3))
    torch.testing.assert_close(layer(x), layer.definition(x))
    leaves = (x.requires_grad_(), *(p.detach().requires_grad_() for p in layer.parameters()))

    def call(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(call, leaves)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_values_are_unbiased_and_hold_no_eps(momentum):
    layer = complex.BatchNorm(2, eps=0.5, momentum=momentum, dtype=C128)
    batches = [correlated(3, 2, 4) for _ in range(5)]
    mean, spread = torch.zeros(2, dtype=C128), torch.eye(2).double().expand(2, 2, 2) / 2
    for count, x in enumerate(batches, 1):
        layer(x)
        share = 1 / count if momentum is None else momentum
        mean = mean + share * (x.mean((0, 2)) - mean)
        spread = spread + share * (covariance(x) * 12 / 11 - spread)
    rr, ii, ri = layer.running_covariance
    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(torch.stack([rr, ri, ri, ii], 1).reshape(2, 2, 2), spread)
    # In evaluation eps is added once: white numbers of the running covariance come out with V (V + eps)^-1 / 2.
    x = correlated(50, 2, 400)
    layer.eval()
    layer.running_mean.copy_(x.mean((0, 2)))
    layer.running_covariance.copy_(torch.stack([covariance(x)[:, a, b] for a, b in ((0, 0), (1, 1), (0, 1))]))
    root = [torch.linalg.eigh(v + 0.5 * torch.eye(2)) for v in covariance(x)]
    wanted = [u @ torch.diag(e**-0.5) @ u.T for e, u in root]
    wanted = torch.stack([w @ v @ w / 2 for w, v in zip(wanted, covariance(x), strict=True)])
    torch.testing.assert_close(covariance(layer(x).detach()), wanted)


def test_a_new_batch_norm_is_the_identity_in_evaluation():
    x = correlated(2, 3, 4)
    torch.testing.assert_close(complex.BatchNorm(3, eps=1e-12, dtype=C128).eval()(x), x)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_parts_that_follow_each_other_do_not_break_it(scale):
    """Real numbers, or parts on a line: the covariance is singular but for eps."""
    a = torch.randn(64, 2, 5) * scale
    for x in (a.to(C64), torch.complex(a, a), torch.complex(a, -2 * a)):
        layer, x = complex.BatchNorm(2), x.requires_grad_()
        y = layer(x)
        y.abs().square().sum().backward()
        assert y.isfinite().all()
        assert x.grad.isfinite().all()


def test_one_value_has_no_covariance():
    with pytest.raises(ArgumentError, match="more than one value"):
        complex.BatchNorm(2)(drawn(1, 2, 1, dtype=C64))
    with pytest.raises(ArgumentError, match="eps above 0"):
        complex.BatchNorm(2, eps=0)
    with pytest.raises(DtypeError, match="complex tensor"):
        complex.BatchNorm(2)(torch.zeros(2, 2, 3))


def test_real_parameters_stay_real_when_cast():
    layer = torch.nn.Sequential(complex.BatchNorm(2), complex.ModReLU(2))
    for cast, precision in ((C128, torch.float64), (torch.float32, torch.float32), (torch.float64, torch.float64)):
        with pytest.warns(UserWarning, match="Complex modules") if cast.is_complex else nullcontext():
            layer.to(cast)
        for name, value in layer.state_dict().items():
            if value.is_floating_point() or value.is_complex():
                assert value.dtype.to_real() == precision
                assert value.is_complex() == name.endswith(("0.bias", "running_mean")), name
    assert layer.float()[0].bias.dtype == C64
    assert layer.double()[0].bias.dtype == C128


# The others


def test_activations_by_hand():
    z = torch.tensor([3 + 4j, -3 + 4j, -3 - 4j, 0.3 - 0.4j, 0j])
    assert complex.CReLU()(z).tolist() == [3 + 4j, 4j, 0, pytest.approx(0.3), 0]
    assert complex.ZReLU()(z).tolist() == [3 + 4j, 0, 0, 0, 0]
    torch.testing.assert_close(complex.Cardioid()(z)[:3], z[:3] * torch.tensor([0.8, 0.2, 0.2]))
    layer = complex.ModReLU(1, start=-1.0)
    torch.testing.assert_close(
        layer(z.reshape(1, 1, -1))[0, 0], torch.tensor([2.4 + 3.2j, -2.4 + 3.2j, -2.4 - 3.2j, 0, 0])
    )


@pytest.mark.parametrize("kind", [complex.CReLU, complex.ZReLU, complex.Cardioid, lambda: complex.ModReLU(1, 0.5)])
def test_zero_has_finite_derivatives(kind):
    z = torch.zeros(1, 1, 3, dtype=C64, requires_grad=True)
    layer = kind()
    layer(z).abs().square().sum().backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_pools_of_real_numbers_are_torchs(ndim):
    x = torch.rand(2, 3, *(6, 5, 4, 4)[:ndim]) + 0.1
    for ours, real in ((complex.MaxPool, "max_pool"), (complex.AvgPool, "avg_pool")):
        layer = ours(ndim, 2, padding=1)
        if ndim < 4:
            wanted = getattr(torch.nn.functional, f"{real}{ndim}d")(x, 2, padding=1)
        else:  # the last axis by itself, since windows are boxes
            three = getattr(torch.nn.functional, f"{real}3d")(x.movedim(2, 1).flatten(0, 1), 2, padding=1)
            three = three.unflatten(0, (2, 6)).movedim(1, -1)
            wanted = getattr(torch.nn.functional, f"{real}1d")(three.flatten(0, -2), 2, padding=1)
            wanted = wanted.unflatten(0, three.shape[:-1]).movedim(-1, 2)
        torch.testing.assert_close(layer(x.to(C64)), wanted.to(C64))


def test_max_pool_chooses_by_modulus():
    z = torch.tensor([[[1j, -3.0, 2.0, 2j, 0, 0]]])
    assert complex.MaxPool1d(2)(z).tolist() == [[[-3, 2, 0]]]


@pytest.mark.parametrize("channels", [False, True])
def test_dropout_takes_both_parts_and_keeps_the_mean(channels):
    torch.manual_seed(0)
    z = torch.full((200, 200, 4), 1 + 2j)
    y = complex.Dropout(0.3, channels)(z)
    kept = y != 0
    torch.testing.assert_close(y[kept], z[kept] / 0.7)
    assert abs(kept.float().mean() - 0.7) < 0.02
    assert (y.mean() - (1 + 2j)).abs() < 0.05
    assert (kept == kept[:, :, :1]).all() == channels


def test_wrong_settings_are_refused():
    for make in (
        lambda: complex.Dropout(1.0), lambda: complex.MaxPool2d(2, padding=2), lambda: complex.AvgPool1d(0),
        lambda: complex.ModReLU(0), lambda: complex.MaxPool1d(3)(drawn(1, 1, 2)),
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            make()
    with pytest.raises(DtypeError):
        complex.CReLU()(torch.zeros(3))


# First values


@pytest.mark.parametrize(("kind", "fan"), [("he", 32 * 9), ("glorot", 32 * 9 + 64 * 9)])
def test_first_values_are_circular_of_the_stated_variance(kind, fan):
    w = complex_(torch.empty(64, 32, 3, 3, dtype=C128), kind, torch.Generator().manual_seed(0)).flatten()
    assert abs(w.abs().square().mean() * fan / 2 - 1) < 0.03
    assert abs((w * w).mean() * fan) < 0.05  # real and imaginary part are independent and of one variance
    quarter = (w.angle() / (torch.pi / 2)).floor()
    assert all(abs((quarter == q).double().mean() - 0.25) < 0.01 for q in (-2, -1, 0, 1))
    rayleigh = w.abs().mean() / w.abs().square().mean().sqrt()
    assert abs(rayleigh - torch.pi**0.5 / 2) < 0.01


def test_first_values_repeat_and_refuse():
    a, b = (complex_(torch.empty(2, 3, 4, dtype=C64), generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert (a == b).all()
    for wrong, error in ((torch.empty(2, 3), DtypeError), (torch.empty(2, dtype=C64), ArgumentError)):
        with pytest.raises(error):
            complex_(wrong)
    with pytest.raises(ArgumentError, match="glorot"):
        complex_(torch.empty(2, 3, dtype=C64), "lecun")


def test_names_are_kept_apart():
    """The complex layers are reached through their own room, the flat names are the real ones."""
    from faltung import nn

    assert nn.complex.Conv is not nn.Conv
    assert not hasattr(nn, "BatchNorm")
    kinds = (complex.Conv, complex.MaxPool, complex.AvgPool)
    for kind, n in itertools.product(kinds, (1, 2, 3, 4)):
        assert getattr(complex, f"{kind.__name__}{n}d").func is kind
