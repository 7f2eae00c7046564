"""conv and conv_transpose: against torch where torch has them, against the definition and each other where it has not."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import BOUNDARY, conv, conv_transpose

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:DeprecationWarning"
)  # torch on its own forward derivatives


def few(count):
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=checks,
    )  # fmt: skip


@st.composite
def layers(draw, dtypes, most=4):
    """Input, weight and options of a layer in one to `most` dimensions."""
    whole = lambda low, high: draw(st.integers(low, high))  # noqa: E731 - a word for each draw
    ndim, groups, batch = whole(1, most), whole(1, 2), whole(1, 2)
    taps = [whole(1, 3 if ndim < 4 else 2) for _ in range(ndim)]
    options = {
        "stride": tuple(whole(1, 3) for _ in taps),
        "padding": tuple(whole(0, 2) for _ in taps),
        "dilation": tuple(whole(1, 2) for _ in taps),
        "groups": groups,
        "padding_mode": draw(st.sampled_from(sorted(BOUNDARY))),
    }
    reach = [d * (t - 1) + 1 for d, t in zip(options["dilation"], taps, strict=True)]
    size = [max(1, r - 2 * p) + whole(0, 2) for r, p in zip(reach, options["padding"], strict=True)]
    dtype = draw(st.sampled_from(dtypes))
    random = torch.Generator().manual_seed(whole(0, 99))
    x = torch.randn(batch, groups * whole(1, 2), *size, dtype=dtype, generator=random)
    weight = torch.randn(groups * whole(1, 2), x.shape[1] // groups, *taps, dtype=dtype, generator=random)
    return x, weight, options


@few(60)
@given(layers((torch.float64, torch.complex128)))
def test_derivatives_of_both_functions(drawn):
    x, weight, options = drawn
    bias = torch.randn(weight.shape[0], dtype=x.dtype)
    fast = {"fast_mode": True, "eps": 1e-5, "atol": 1e-5}
    operands = tuple(a.requires_grad_() for a in (x, weight, bias))
    function = lambda *given: conv(*given, **options)  # noqa: E731
    assert gradcheck(function, operands, **fast)
    assert gradgradcheck(function, operands, **fast)
    y = function(*operands).detach()
    back = lambda y, weight: conv_transpose(y, weight, **options, output_size=x.shape[2:])  # noqa: E731
    assert gradcheck(back, (y.requires_grad_(), weight), **fast)
    assert gradgradcheck(back, (y, weight), **fast)


@few(150)
@given(layers((torch.float64, torch.complex128)))
def test_the_transpose_is_the_transpose(drawn):
    """⟨y, K x⟩ = ⟨Kᵀ y, x⟩ for every padding mode."""
    x, weight, options = drawn
    forward = conv(x, weight, **options)
    y = torch.randn_like(forward)
    back = conv_transpose(y, weight, **options, output_size=x.shape[2:])
    assert back.shape == x.shape
    torch.testing.assert_close((y * forward).sum(), (back * x).sum(), rtol=1e-10, atol=1e-10)


def tap_by_tap(x, weight, bias, stride, padding, dilation, groups, padding_mode):
    """The definition in torch, for any number of dimensions."""
    for axis, pad in enumerate(padding, 2):
        at, n = torch.arange(-pad, x.shape[axis] + pad), x.shape[axis]
        period = max(1, 2 * n - 2)
        place = {
            "zeros": at.clamp(0, n - 1), "replicate": at.clamp(0, n - 1), "circular": at % n,
            "reflect": (at % period).where(at % period < n, period - at % period),
            "symmetric": (at % (2 * n)).where(at % (2 * n) < n, 2 * n - 1 - at % (2 * n)),
        }[padding_mode]  # fmt: skip
        outside = (at < 0) | (at >= n)
        x = x.index_select(axis, place)
        if padding_mode == "zeros":
            x = x.index_fill(axis, outside.nonzero().ravel(), 0)
    taps = weight.shape[2:]
    sizes = [(n - d * (t - 1) - 1) // s + 1 for n, t, s, d in zip(x.shape[2:], taps, stride, dilation, strict=True)]
    x = x.unflatten(1, (groups, -1))
    weight = weight.unflatten(0, (groups, -1))
    total = 0
    for tap in itertools.product(*map(range, taps)):
        window = x[
            (
                ...,
                *[
                    slice(u * d, u * d + (m - 1) * s + 1, s)
                    for u, d, m, s in zip(tap, dilation, sizes, stride, strict=True)
                ],
            )
        ]
        total = total + torch.einsum("bgc...,goc->bgo...", window, weight[(..., *tap)])
    return total.flatten(1, 2) + bias.reshape(-1, *[1] * len(taps))


@few(150)
@given(layers((torch.float64, torch.complex128)))
def test_conv_is_the_definition(drawn):
    x, weight, options = drawn
    bias = torch.randn(weight.shape[0], dtype=x.dtype)
    torch.testing.assert_close(conv(x, weight, bias, **options), tap_by_tap(x, weight, bias, **options))


@few(100)
@given(layers((torch.float32,), most=3))
def test_conv_and_its_transpose_are_torch_s(drawn):
    x, weight, options = drawn
    ndim = weight.ndim - 2
    options.pop("padding_mode")
    theirs = (torch.conv1d, torch.conv2d, torch.conv3d)[ndim - 1]
    y = theirs(x, weight, **options)
    torch.testing.assert_close(conv(x, weight, **options), y, rtol=1e-4, atol=1e-4)
    transposed = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[ndim - 1]
    extra = tuple(max(s, d) - 1 for s, d in zip(options["stride"], options["dilation"], strict=True))
    try:
        expected = transposed(y, weight, output_padding=extra, **options)
    except RuntimeError:  # padding that leaves nothing
        with pytest.raises(ArgumentError, match="less padding"):
            conv_transpose(y, weight, output_padding=extra, **options)
        return
    torch.testing.assert_close(
        conv_transpose(y, weight, output_padding=extra, **options), expected, rtol=1e-4, atol=1e-4
    )


def test_four_dimensions_are_sums_of_three():
    x, weight = torch.randn(2, 4, 5, 4, 6, 5), torch.randn(6, 2, 3, 2, 3, 2)
    got = conv(x, weight, groups=2, stride=(1, 2, 1, 1))
    expected = sum(
        torch.stack([torch.conv3d(x[:, :, p + u], weight[:, :, u], groups=2, stride=(2, 1, 1)) for p in range(3)], 2)
        for u in range(3)
    )
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_depthwise_and_unbatched():
    x, weight = torch.randn(4, 9), torch.randn(8, 1, 3)
    torch.testing.assert_close(conv(x, weight, groups=4, padding=1), torch.conv1d(x, weight, groups=4, padding=1))
    y, weight = torch.randn(4, 9), torch.randn(4, 2, 3)
    torch.testing.assert_close(
        conv_transpose(y, weight, groups=4, stride=2), torch.conv_transpose1d(y, weight, groups=4, stride=2)
    )


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("taps", [2, 3, 4])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
def test_padding_by_word(padding, taps):
    x, weight = torch.randn(2, 3, 9, 8, dtype=torch.float64), torch.randn(4, 3, taps, taps, dtype=torch.float64)
    for dilation in (1, 2):
        torch.testing.assert_close(
            conv(x, weight, padding=padding, dilation=dilation),
            torch.conv2d(x, weight, padding=padding, dilation=dilation),
        )


def test_margins_wider_than_the_signal_go_on():
    x = torch.tensor([[[1.0, 2.0]]])
    assert conv(x, torch.ones(1, 1, 1), padding=5, padding_mode="circular").ravel().tolist() == [
        2,
        1,
        2,
        1,
        2,
        1,
        2,
        1,
        2,
        1,
        2,
        1,
    ]


def test_one_dtype_except_under_autocast():
    x, weight, bias = torch.randn(1, 3, 8).bfloat16(), torch.randn(4, 3, 3), torch.randn(4)
    with pytest.raises(DtypeError, match=r"expected input and weight of one dtype, but got bfloat16 and float32; cast"):
        conv(x, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, expected = conv(x, weight, bias), torch.nn.functional.conv1d(x, weight, bias)
        back = conv_transpose(got, weight, stride=2)
    assert got.dtype == expected.dtype == back.dtype == torch.bfloat16
    torch.testing.assert_close(got, expected, rtol=2e-2, atol=2e-2)


X, W = torch.zeros(1, 4, 8), torch.zeros(6, 4, 3)
WRONG = {
    "an input with 3 axes, or 2 without a batch": lambda: conv(torch.zeros(8), W),
    "a weight with two channel axes": lambda: conv(X, torch.zeros(3, 3)),
    "4 input channels": lambda: conv(torch.zeros(1, 5, 8), W),
    "that 4 groups divide": lambda: conv(torch.zeros(1, 16, 8), W, groups=4),
    "groups: expected a whole number of at least 1": lambda: conv(X, W, groups=0),
    r"a bias of shape \(6,\), but got shape \(5,\)": lambda: conv(X, W, torch.zeros(5)),
    "stride: expected whole numbers of at least 1": lambda: conv(X, W, stride=0),
    "dilation: expected whole numbers of at least 1, one or 1": lambda: conv(X, W, dilation=(1, 2)),
    "padding: expected whole numbers of at least 0": lambda: conv(X, W, padding=-1),
    r"padding: expected whole numbers of at least 0, one or 1, but got 1\.5": lambda: conv(X, W, padding=1.5),
    "padding: expected 'valid', 'same'": lambda: conv(X, W, padding="full"),
    "padding='same': expected a stride of 1": lambda: conv(X, W, padding="same", stride=2),
    "padding_mode: expected one of zeros": lambda: conv(X, W, padding_mode="mirror"),
    "a signal at least as long as the filter's reach": lambda: conv(X, torch.zeros(6, 4, 9)),
    "input as a torch tensor, but got list": lambda: conv([1.0], W),
    "policy: expected a faltung.Policy": lambda: conv(X, W, policy="fft"),
    "input and weight on one device, but got cpu and meta": lambda: conv(X, W.to("meta")),
    "6 input channels": lambda: conv_transpose(X, W),
    r"output_padding: expected sizes from \(0,\) to \(1,\)": lambda: conv_transpose(
        torch.zeros(1, 6, 8), W, stride=2, output_padding=2
    ),
    r"output_size: expected sizes from \(17,\) to \(18,\)": lambda: conv_transpose(
        torch.zeros(1, 6, 8), W, stride=2, output_size=[20]
    ),
    "output_padding: expected whole numbers of at least 0": lambda: conv_transpose(
        torch.zeros(1, 6, 8), W, output_padding=-1
    ),
    "use less padding": lambda: conv_transpose(torch.zeros(1, 6, 1), W, padding=2),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_wrong_calls(sentence):
    with pytest.raises((ArgumentError, DtypeError), match=sentence):
        WRONG[sentence]()
