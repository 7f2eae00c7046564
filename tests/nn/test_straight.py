"""Calls that have been made before go a shorter way: the same values, derivatives, layout and errors as the first time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from faltung import Policy
from faltung.errors import FaltungError
from faltung.nn.functional import conv, conv_transpose, convolution
from faltung.nn.functional.definition import conv_by_taps

DTYPE = torch.float64


@st.composite
def calls(draw):
    ndim, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 4]))
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 9))
    size = [draw(st.integers(4, 7)) for _ in range(ndim)]
    taps = [draw(st.integers(1, 3)) for _ in range(ndim)]
    x = torch.randn(draw(st.integers(1, 2)), inputs, *size, dtype=DTYPE)
    k = torch.randn(outputs, inputs // groups, *taps, dtype=DTYPE)
    if ndim == 2 and draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
        k = k.contiguous(memory_format=torch.channels_last) if draw(st.booleans()) else k
    bias = torch.randn(outputs, dtype=DTYPE) if draw(st.booleans()) else None
    stride, padding, dilation = draw(st.integers(1, 2)), draw(st.integers(0, 2)), draw(st.integers(1, 2))
    mode = draw(st.sampled_from(["zeros", "zeros", "zeros", "reflect", "circular"]))
    dilation = dilation if all((t - 1) * dilation < n for t, n in zip(taps, size, strict=True)) else 1
    return x, k, bias, (stride, padding, dilation, groups, mode)


def pads(settings, ndim):
    return ((settings[1], settings[1]),) * ndim


@given(calls())
def test_the_second_call_is_the_definition_too(call):
    x, k, bias, settings = call
    ndim = x.ndim - 2
    for _ in range(2):
        with torch.no_grad():
            y = conv(x, k, bias, *settings)
    stride, _, dilation, groups, mode = settings
    wanted = conv_by_taps(x, k, bias, (stride,) * ndim, pads(settings, ndim), (dilation,) * ndim, groups, mode)
    torch.testing.assert_close(y, wanted, rtol=1e-11, atol=1e-11)
    # Along axes of one sample any step is as good.
    if x.is_contiguous(memory_format=torch.channels_last) if ndim == 2 and not x.is_contiguous() else False:
        assert y.is_contiguous(memory_format=torch.channels_last)
    else:
        assert y.is_contiguous()


@given(calls())
def test_so_are_its_derivatives_of_both_orders(call):
    x, k, bias, settings = call
    ndim = x.ndim - 2
    stride, _, dilation, groups, mode = settings

    def by_taps(x, k, bias):
        return conv_by_taps(x, k, bias, (stride,) * ndim, pads(settings, ndim), (dilation,) * ndim, groups, mode)

    found = []
    leaves = [a.requires_grad_() for a in (x, k, bias) if a is not None]
    for function in (lambda *a: conv(*a, *settings),) * 2 + (by_taps,):
        y = function(x, k, bias)
        first = torch.autograd.grad(y.pow(3).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.pow(2).sum() for g in first), leaves)
        found.append((y, *first, *second))
    for ours in found[:2]:
        torch.testing.assert_close(ours, found[2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_a_frozen_operand_gets_no_gradient(frozen):
    x, k = torch.randn(1, 8, 6, 6), torch.randn(8, 8, 3, 3)
    x, k = (a.contiguous(memory_format=torch.channels_last) for a in (x, k))
    (k if frozen == "input" else x).requires_grad_()
    for _ in range(2):
        conv(x, k, None, 1, 1).sum().backward()
    assert (x.grad is None) == (frozen == "input")
    assert (k.grad is None) == (frozen == "weight")


def kept(*operands, trained=False, **settings):
    """What serves the second call of this kind."""
    convolution._ways.clear()
    with torch.set_grad_enabled(trained):
        conv(*operands, **settings)
    (way,) = convolution._ways.values()
    return way


def test_torch_is_called_where_the_plan_is_torch_s_own_and_only_there():
    last = torch.channels_last
    x, k = torch.randn(1, 64, 14, 14).contiguous(memory_format=last), torch.randn(64, 64, 1, 1, requires_grad=True)
    direct = convolution._Way
    assert not isinstance(kept(x, k), direct)
    assert not isinstance(kept(x, k, trained=True), direct)
    assert isinstance(kept(x, k, policy=Policy(only="blocks")), direct)
    assert isinstance(kept(x, k, policy=Policy(without="onednn")), direct)
    assert isinstance(kept(x, k, policy=Policy(verify=True)), direct)
    assert isinstance(kept(x, k, padding=1, padding_mode="reflect"), direct)
    assert isinstance(kept(x.bfloat16(), k.bfloat16()), direct)  # whose NaN are looked for
    assert isinstance(kept(x[0], k), direct)
    assert isinstance(kept(x[..., ::2], k), direct)
    long = torch.randn(1, 4, 1, 65536).contiguous(memory_format=last)
    assert isinstance(kept(long, torch.randn(4, 1, 1, 1025), groups=4, padding=(0, 512)), direct)


def test_nan_stays_where_it_belongs_on_the_second_call():
    x, k = torch.zeros(1, 16, 9, 9).contiguous(memory_format=torch.channels_last), torch.ones(16, 16, 3, 3)
    x[0, 3, 4, 4] = float("nan")
    for _ in range(2):
        y = conv(x, k, None, 1, 1)
        assert int(y.isnan().sum()) == 16 * 9


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_what_watches_gets_the_operator_again():
    x, k = torch.randn(2, 8, 6, 6), torch.randn(8, 8, 3, 3)
    ours = conv(x, k, None, 1, 1)
    ours = conv(x, k, None, 1, 1)
    per_sample = torch.func.vmap(lambda a: conv(a[None], k, None, 1, 1)[0])(x)
    torch.testing.assert_close(per_sample, ours, rtol=1e-4, atol=1e-4)
    _, tangent = torch.func.jvp(lambda a: conv(a, k, None, 1, 1), (x,), (x,))
    torch.testing.assert_close(tangent, ours, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x, k, None, 1, 1).dtype == torch.bfloat16
    assert conv(x.to("meta"), k.to("meta"), None, 1, 1).is_meta


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_bias_added_in_place_and_one_value_for_all_places(groups, memory):
    """The derivatives of a sum come in the layout of the operands, those of a learning bias alone too."""
    x = torch.randn(2, 8, 6, 5, dtype=DTYPE).contiguous(memory_format=memory)
    k, b = torch.randn(8, 8 // groups, 3, 3, dtype=DTYPE), torch.randn(8, dtype=DTYPE)
    for learns in ((1, 1, 1), (0, 0, 1), (1, 0, 1), (1, 1, 0)):
        for policy in (None, Policy(only="direct")):
            known = [t.clone().requires_grad_(bool(l)) for t, l in zip((x, k, b), learns, strict=True)]
            asked = [t for t in known if t.requires_grad]
            for _ in range(2):
                y = conv(*known, 1, 1, 1, groups, policy=policy)
                theirs = torch.nn.functional.conv2d(*known, 1, 1, 1, groups)
                torch.testing.assert_close(y, theirs)
                found = torch.autograd.grad(y.sum(), asked)
                for one, other in zip(found, torch.autograd.grad(theirs.sum(), asked), strict=True):
                    torch.testing.assert_close(one, other)
                assert not learns[0] or found[0].is_contiguous(memory_format=memory)


def test_batched_cotangents():
    x = torch.randn(1, 3, 5, 5, dtype=DTYPE, requires_grad=True)
    k = torch.randn(2, 3, 3, 3, dtype=DTYPE)
    for mode in ("reflect", "zeros"):
        for _ in range(2):
            y = conv(x, k, None, 1, 1, padding_mode=mode)
        many = torch.eye(y.numel(), dtype=DTYPE).reshape(-1, *y.shape)
        (ours,) = torch.autograd.grad(y, x, many, is_grads_batched=True, retain_graph=True)
        for row, cotangent in zip(ours[::7], many[::7], strict=True):
            (one,) = torch.autograd.grad(y, x, cotangent, retain_graph=True)
            torch.testing.assert_close(row, one)


def test_wrong_calls_are_refused_after_right_ones():
    x, k = torch.randn(1, 2, 8), torch.randn(3, 2, 3)
    for _ in range(2):
        conv(x, k)
        conv_transpose(x, torch.randn(2, 3, 3))
    for wrong in ((x, k.double()), (x, k[:, :1]), (x.to_sparse(), k), (x.numpy(), k), (x, k, torch.zeros(2))):
        with pytest.raises(FaltungError):
            conv(*wrong)
