"""Tensors keep their memory layout, take the short way only where nobody watches, and give the same numbers on every way."""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import faltung
from faltung import Policy, Problem, torch_gate
from faltung.nn import functional

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
LAST = torch.channels_last
# in, out, taps, stride, groups
LAYERS = ((3, 5, 3, 1, 1), (16, 32, 3, 2, 1), (24, 24, 5, 1, 24), (12, 18, 3, 1, 3), (20, 7, 1, 1, 1))


def tensors(layer, dtype=torch.float64, requires_grad=False):
    c, o, taps, _, groups = layer
    random = torch.Generator().manual_seed(1)
    x = torch.randn(2, c, 11, 9, generator=random, dtype=dtype)
    w = torch.randn(o, c // groups, taps, taps, generator=random, dtype=dtype)
    return [a.requires_grad_(requires_grad) for a in (x, w)]


def run(x, w, layer, **options):
    return functional.conv(x, w, stride=layer[3], groups=layer[4], padding=layer[2] // 2, **options)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", [None, "direct", "blocks", "indirect", "onednn", "overlap", "definition"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_channels_last_comes_and_goes(layer, method, dtype):
    x, w = tensors(layer, dtype)
    policy = Policy(only=method) if method else None
    first = run(x, w, layer, policy=policy)
    last = run(x.to(memory_format=LAST), w.to(memory_format=LAST), layer, policy=policy)
    assert first.is_contiguous()
    assert last.is_contiguous(memory_format=LAST)
    near = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 0.05}[dtype]
    torch.testing.assert_close(last, first, atol=near, rtol=near)


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_of_channels_last(layer):
    got = {}
    for memory in (torch.contiguous_format, LAST):
        x, w = (a.detach().to(memory_format=memory).requires_grad_() for a in tensors(layer))
        y = run(x, w, layer)
        (y * torch.linspace(0, 1, y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
        got[memory] = x.grad, w.grad
    for first, last in zip(*got.values(), strict=True):
        torch.testing.assert_close(first, last)


@pytest.mark.parametrize("unknown", ["out", "x", "k"])
def test_fake_results_lie_as_real_ones(unknown):
    problem = Problem.parse(
        'correlate "b c *s, o c *s -> b o *s" x=2x5x7x6:float32 k=4x5x3x3:float32 pad=1:1,1:1'
    ).gradient(unknown)
    arrays = {"x": torch.randn(2, 5, 7, 6), "k": torch.randn(4, 5, 3, 3), "y": torch.randn(2, 4, 7, 6)}
    known = {"out": "xk", "x": "ky", "k": "xy"}[unknown]
    given = [arrays[n].contiguous(memory_format=LAST) if n in known else None for n in "xky"]
    text = problem.text + " host=torch"
    assert set(torch.library.opcheck(torch.ops.faltung.solve.default, (*given, text, "")).values()) == {"SUCCESS"}
    result = torch_gate.solve(text, "", *given)
    if unknown != "k":
        assert result.is_contiguous(memory_format=LAST)


def test_compiled_layers_keep_channels_last():
    layer = LAYERS[1]
    x, w = (a.to(memory_format=LAST) for a in tensors(layer, torch.float32))
    compiled = torch.compile(lambda x, w: run(x * 2, w, layer).relu(), fullgraph=True, backend="aot_eager")
    y = compiled(x, w)
    assert y.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(y, run(x * 2, w, layer).relu())


def test_singleton_axes_do_not_confuse_the_layout():
    for shape in ((1, 8, 1, 1), (1, 1, 5, 5), (3, 8, 1, 5), (1, 8, 5, 5)):
        x, w = torch.randn(shape), torch.randn(4, shape[1], 1, 1)
        wanted = torch.nn.functional.conv2d(x, w)
        for memory in (torch.contiguous_format, LAST):
            torch.testing.assert_close(functional.conv(x.contiguous(memory_format=memory), w), wanted)


# -- the short way ----------------------------------------------------------------------------------------------------------


def test_who_watches_gets_the_operator():
    x = torch.randn(4, 4)
    assert torch_gate.plain(x, None, x)
    assert torch_gate.plain(torch.nn.Parameter(x, requires_grad=False))
    assert not torch_gate.plain(torch.nn.Parameter(x))
    with torch.no_grad():
        assert torch_gate.plain(torch.nn.Parameter(x))
    assert not torch_gate.plain(x.to("meta"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch_gate.plain(x)
    with torch.autograd.forward_ad.dual_level():
        assert not torch_gate.plain(x)
    seen = []
    torch.func.vmap(lambda a: (seen.append(torch_gate.plain(x)), a)[1])(x)
    assert seen == [False]

    class Watcher(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            return function(*args, **(kwargs or {}))

    class Listener(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            return function(*args, **(kwargs or {}))

    for mode in (Watcher, Listener):
        with mode():
            assert not torch_gate.plain(x)

    class Own(torch.Tensor):
        pass

    assert not torch_gate.plain(x.as_subclass(Own))


def test_a_dispatch_mode_sees_the_operator():
    names = []

    class Watcher(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            names.append(str(function))
            return function(*args, **(kwargs or {}))

    x, w = tensors(LAYERS[0])
    run(x, w, LAYERS[0])
    assert not names
    with Watcher():
        run(x, w, LAYERS[0])
    assert "faltung.solve.default" in names


@pytest.mark.parametrize("layer", LAYERS)
def test_the_short_way_and_the_operator_agree(layer):
    x, w = tensors(layer, torch.float32)
    for memory in (torch.contiguous_format, LAST):
        a, b = x.contiguous(memory_format=memory), w.contiguous(memory_format=memory)
        short = run(a, b, layer)
        whole = run(a, b.clone().requires_grad_(), layer)
        assert whole.requires_grad
        assert torch.equal(short, whole)


def test_a_bias_is_added_to_the_result_only():
    x, w = tensors(LAYERS[0], torch.float32)
    bias = torch.randn(5)
    kept = x.clone(), w.clone(), bias.clone()
    wanted = torch.nn.functional.conv2d(x, w, bias, padding=1)
    torch.testing.assert_close(functional.conv(x, w, bias, padding=1), wanted)
    for before, after in zip(kept, (x, w, bias), strict=True):
        assert torch.equal(before, after)


def test_the_door_remembers_tensors_by_what_was_asked():
    x, k = torch.randn(6, 6), torch.randn(3, 3)
    for _ in range(3):
        same = faltung.convolve(x, k, mode="same")
        full = faltung.convolve(x, k)
        turned = faltung.correlate(x, k, mode="same")
        assert full.shape == (8, 8)
        torch.testing.assert_close(turned, faltung.convolve(x, k.flip(0, 1), mode="same"))
        assert not torch.equal(same, turned)
    doubled = faltung.convolve(x.double(), k.double(), mode="same")
    assert doubled.dtype == torch.float64


def test_half_precision_keeps_what_is_not_finite_local():
    x, w = torch.randn(1, 16, 9, 9).bfloat16(), torch.randn(32, 16, 3, 3).bfloat16()
    clean = functional.conv(x, w, padding=1)
    for bad in (float("nan"), float("inf")):
        dirty = x.clone()
        dirty[0, 3, 4, 4] = bad
        y = functional.conv(dirty, w, padding=1)
        far = torch.ones(9, 9, dtype=torch.bool)
        far[3:6, 3:6] = False
        assert not y[..., 3:6, 3:6].isfinite().any()
        torch.testing.assert_close(y[..., far], clean[..., far], atol=0.05, rtol=0.05)


def test_gradients_over_ordered_algebras_with_channels_last():
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    k = torch.randn(4, 3, 3, 2, dtype=torch.float64)
    found = []
    for memory in (torch.contiguous_format, torch.channels_last, torch.channels_last):
        a, b = x.contiguous(memory_format=memory).requires_grad_(), k.clone().requires_grad_()
        y = faltung.correlate(a, b, "b c *s, o c *s -> b o *s", over="max-plus", mode="valid")
        found.append((y, *torch.autograd.grad(y.pow(2).sum(), (a, b))))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])
