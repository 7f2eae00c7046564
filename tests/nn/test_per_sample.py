"""A filter for each sample: the same as one convolution a sample, with everything that torch does to functions."""

import io

import pytest
import torch

from faltung import Policy
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import (
    conv,
    conv_mixed,
    conv_per_sample,
    conv_transpose,
    conv_transpose_mixed,
    conv_transpose_per_sample,
    mixed,
)

SETTINGS = [
    (1, {"stride": 2, "padding": 1}),
    (1, {"dilation": 3, "padding": 3, "padding_mode": "circular", "groups": 2}),
    (2, {"padding": 2, "padding_mode": "reflect"}),
    (2, {"stride": (2, 1), "dilation": (1, 2), "groups": 4}),
    (2, {"stride": 3, "padding": 1, "padding_mode": "replicate"}),
    (3, {"padding": (0, 1, 2), "padding_mode": "symmetric", "groups": 2}),
    (4, {"stride": 2, "padding": 1}),
]


def drawn(ndim, groups=1, samples=3, transposed=False, taps=2, size=5, dtype=torch.float64):
    torch.manual_seed(0)
    first, second = (4, 8 // groups) if transposed else (8, 4 // groups)
    x = torch.randn(samples, 4, *(size + n for n in range(ndim)), dtype=dtype)
    return x, torch.randn(samples, first, second, *(taps,) * ndim, dtype=dtype), torch.randn(samples, 8, dtype=dtype)


@pytest.mark.parametrize(("ndim", "settings"), SETTINGS)
@pytest.mark.parametrize("transposed", [False, True])
def test_each_sample_meets_its_own_filter(ndim, settings, transposed):
    x, k, bias = drawn(ndim, settings.get("groups", 1), transposed=transposed)
    ours, plain = (conv_transpose_per_sample, conv_transpose) if transposed else (conv_per_sample, conv)
    wanted = torch.cat([plain(x[n : n + 1], k[n], bias[n], **settings) for n in range(3)])
    torch.testing.assert_close(ours(x, k, bias, **settings), wanted, rtol=1e-12, atol=1e-12)
    same = torch.cat([plain(x[n : n + 1], k[n], bias[0], **settings) for n in range(3)])
    torch.testing.assert_close(ours(x, k, bias[0], **settings), same, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("ndim", "settings"), SETTINGS)
def test_the_transpose_is_the_exact_adjoint(ndim, settings):
    x, k, _ = drawn(ndim, settings.get("groups", 1))
    y = conv_per_sample(x, k, **settings)
    z = torch.randn_like(y)
    back = conv_transpose_per_sample(z, k, **settings, output_size=x.shape[2:])
    for n in range(3):
        torch.testing.assert_close((y[n] * z[n]).sum(), (x[n] * back[n]).sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("function", [conv_per_sample, conv_transpose_per_sample])
def test_derivatives(function, groups):
    x, k, bias = drawn(2, groups, samples=2, size=3, transposed=function is conv_transpose_per_sample)
    given = [a.requires_grad_() for a in (x, k, bias)]
    assert torch.autograd.gradcheck(lambda *a: function(*a, groups=groups, padding=1), given, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda *a: function(*a, groups=groups, padding=1), given, fast_mode=True)


@pytest.mark.parametrize("groups", [1, 2])
def test_compile_export_and_a_second_size(groups):
    x, k, bias = drawn(2, groups, dtype=torch.float32)

    class Layer(torch.nn.Module):
        def forward(self, x, k, bias):
            return conv_per_sample(x, k, bias, padding=1, groups=groups)

    wanted = Layer()(x, k, bias)
    torch._dynamo.reset()
    compiled = torch.compile(Layer(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, k, bias), wanted)
    torch.testing.assert_close(compiled(x[:2], k[:2], bias[:2]), wanted[:2])
    stored = io.BytesIO()
    torch.export.save(torch.export.export(Layer(), (x, k, bias)), stored)
    stored.seek(0)
    torch.testing.assert_close(torch.export.load(stored).module()(x, k, bias), wanted)


@pytest.mark.filterwarnings("ignore:.*autocast.*:UserWarning")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    x, k, bias = drawn(2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        got = conv_per_sample(x, k.to(dtype), bias)
    assert got.dtype == dtype
    wanted = conv_per_sample(x, k, bias)
    assert (got.float() - wanted).norm() <= 2e-2 * wanted.norm()


def test_vmap_adds_an_axis():
    x, k, _ = drawn(1)
    stacked = torch.stack([x, 2 * x]), torch.stack([k, k.flip(-1)])
    got = torch.func.vmap(conv_per_sample)(*stacked)
    wanted = torch.stack([conv_per_sample(a, b) for a, b in zip(*stacked, strict=True)])
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("function", [conv_per_sample, conv_transpose_per_sample])
def test_no_samples(function):
    x, k, bias = (a[:0].requires_grad_() for a in drawn(2, transposed=function is conv_transpose_per_sample))
    y = function(x, k, bias, padding=1)
    assert y.shape[:2] == (0, 8)
    assert [g.shape for g in torch.autograd.grad(y.sum(), (x, k, bias))] == [x.shape, k.shape, bias.shape]


@pytest.mark.parametrize("method", ["definition", "blocks", "indirect", "winograd", "onednn", "fft"])
@pytest.mark.parametrize("channels", [16, 5])
def test_every_method_computes_single_samples_with_filters_of_their_own(method, channels):
    torch.manual_seed(0)
    x, k = torch.randn(3, channels, 9, 11), torch.randn(3, channels, channels, 3, 3)
    wanted = torch.cat([conv(a[None], b, padding=1) for a, b in zip(x.double(), k.double(), strict=True)])
    got = conv_per_sample(x, k, padding=1, policy=Policy(only=method))
    torch.testing.assert_close(got, wanted.float(), rtol=1e-4, atol=1e-3)
    last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        conv_per_sample(last, k, padding=1, policy=Policy(only=method)), got, rtol=1e-4, atol=1e-3
    )


def test_wrong_calls():
    x, k, bias = drawn(2)
    with pytest.raises(ArgumentError, match="of one batch"):
        conv_per_sample(x, k[:2])
    with pytest.raises(ArgumentError, match="of one batch"):
        conv_per_sample(x, k[0])
    with pytest.raises(ArgumentError, match="a bias for each of 3 samples"):
        conv_per_sample(x, k, bias[:2])
    with pytest.raises(ArgumentError, match="4 input channels"):
        conv_per_sample(x[:, :3], k)
    with pytest.raises(DtypeError, match="one dtype"):
        conv_per_sample(x, k.float())
    with pytest.raises(DtypeError, match="weight as a torch tensor"):
        conv_transpose_per_sample(x, None)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_both_ways_to_mix_are_the_same(groups, transposed, monkeypatch):
    """Mixing kernels and mixing results differ in cost only."""
    x, _, _ = drawn(2)
    shape = (4, 8 // groups) if transposed else (8, 4 // groups)
    kernels, r, biases = (torch.randn(*s, dtype=torch.float64) for s in ((3, *shape, 2, 2), (3, 3), (3, 8)))
    function, results = (conv_transpose_mixed if transposed else conv_mixed), []
    for limit in (0, 10**9):
        monkeypatch.setattr(mixed, "MIXING", limit)
        results.append(function(x, kernels, r, biases, stride=2, padding=1, groups=groups))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
    plain = conv_transpose if transposed else conv
    kinds = zip(kernels, biases, r.T, strict=True)
    wanted = sum(plain(x, k, c, stride=2, padding=1, groups=groups) * w.reshape(-1, 1, 1, 1) for k, c, w in kinds)
    torch.testing.assert_close(results[0], wanted, rtol=1e-12, atol=1e-12)
