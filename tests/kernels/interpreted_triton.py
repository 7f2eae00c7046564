"""What `test_triton.py` runs in a process of its own, in which Triton interprets its kernels on tensors in memory."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import faltung
from faltung import Policy, Problem, methods
from faltung.errors import FaltungError
from faltung.kernels.bands import on_triton as bands
from faltung.kernels.gather import on_triton as gather
from faltung.kernels.long import on_triton as monarch
from faltung.kernels.windows import on_triton as windows
from faltung.nn.functional import gated_conv
from faltung.testing import triton_kernels as suite
from faltung.testing.conformance import check

pytestmark = [pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")]
DEPTHWISE, DENSE = '"b c *s, c *s -> b c *s"', '"b c *s, o c *s -> b o *s"'
PER_SAMPLE = '"b c *s, b c *s -> b c *s"'


def line(verb, pattern, x, k, dtype, rest):
    return f"{verb} {pattern} x={x}:{dtype} k={k}:{dtype} out={dtype} host=torch {rest}"


QUICK = [
    ("triton-monarch", line("convolve", DEPTHWISE, "2x2x40", "2x40", "float32", "pad=39:0")),
    ("triton-monarch", line("correlate", DEPTHWISE, "2x2x256", "2x7", "float32", "pad=2:4 boundary=wrap unknown=k")),
    ("triton-half", line("correlate", DEPTHWISE, "2x2x30", "2x7", "float16", "pad=-2:9 unknown=x")),
    ("triton-bands", line("correlate", DEPTHWISE, "2x1x6x9", "1x3x5", "float16", "pad=1:1,2:2 unknown=k")),
    *(
        (method, line("convolve", PER_SAMPLE, "2x2x40", f"2x2x{taps}", "float32", f"pad={pads} unknown={unknown}"))
        for method, taps, pads in (("triton-bands", 7, "3:3"), ("triton-monarch", 40, "39:0"))
        for unknown in ("out", "x", "k")
    ),
    ("triton-windows", line("convolve", DENSE, "1x2x5x6", "2x2x2x2", "float32", "pad=1:1,0:1 algebra=max-plus unknown=x")),
    ("triton-windows", line("convolve", DENSE, "1x2x9", "2x2x3", "float32", "pad=1:1 algebra=log unknown=k")),
]  # fmt: skip
THOROUGH = [
    (name, line(verb, DEPTHWISE, x, k, dtype, f"{rest} unknown={unknown}"))
    for name, dtypes in (
        ("triton-monarch", ("float32", "float16")), ("triton-half", ("bfloat16",)), ("triton-bands", ("float32", "bfloat16"))
    )
    for dtype in dtypes
    for verb, x, k, rest in (
        ("convolve", "2x3x40", "3x40", "pad=39:0"), ("correlate", "2x2x256", "2x7", "pad=3:3 boundary=wrap"),
        ("correlate", "2x2x30", "2x7", "pad=2:4 boundary=reflect"), ("convolve", "1x2x30", "2x9", "pad=-2:9"),
    )
    for unknown in ("out", "x", "k")
] + [
    ("triton-windows", line("convolve", DENSE, x, k, dtype, f"{rest} algebra={algebra} unknown={unknown}"))
    for algebra, dtype in (("max-plus", "float32"), ("min-plus", "float64"), ("log", "float32"))
    for x, k, rest in (("2x2x9x7", "3x2x3x2", "pad=1:1,1:1 stride=2x1"), ("2x2x9", "3x2x3", "pad=1:2 boundary=edge"))
    for unknown in ("out", "x", "k")
] + [
    ("triton-bands", line("convolve", DEPTHWISE, "2x2x9x11", "2x5x7", "float32", f"pad=2:2,3:3 boundary={b} unknown={u}"))
    for b in ("constant", "reflect") for u in ("out", "x", "k")
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "tool", "dtypes", "least"),
    [
        ("long", monarch, ("float16",), 16),
        ("bands", bands, ("float16",), 9),
        pytest.param("windows", windows, ("float32",), 27, marks=pytest.mark.slow),
        ("rows-by-number", gather, ("float64",), 19),
        ("rows-by-number", gather, ("float32",), 19),
    ],
)
def test_kernels_equal_their_contracts(name, tool, dtypes, least):
    assert suite.TRITON_CHECKS[name](tool, dtypes=dtypes) >= least


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tool"), [("long", monarch), ("bands", bands), ("windows", windows)])
def test_kernels_equal_their_contracts_in_other_dtypes(name, tool):
    dtypes = ("float64",) if name == "windows" else ("float32", "bfloat16")
    assert suite.TRITON_CHECKS[name](tool, seed=100, dtypes=dtypes) >= 18


def test_a_tool_that_is_wrong_is_caught():
    class Late(monarch.Monarch):
        def convolve(self, x, spectrum, first, m, **how):
            return super().convolve(x, spectrum, first + 1, m, **how)

    with pytest.raises(AssertionError, match="monarch in float16"):
        suite.check_monarch(SimpleNamespace(Monarch=Late), dtypes=("float16",))

    def unturned(x, k, low, m, dtype, turned=False, result=None):
        return bands.correlate(x, k, low, m, dtype, result=result)

    with pytest.raises(AssertionError, match="bands in float16"):
        suite.check_bands(SimpleNamespace(correlate=unturned, filters=bands.filters), dtypes=("float16",))


@pytest.mark.parametrize(("method", "text"), QUICK)
def test_methods_equal_the_definition(method, text):
    assert check(Problem.parse(text), method, Policy(tolerance=0.5)) == "right"


@pytest.mark.parametrize("rest", ["pad=3:3 stride=2", "pad=3:3 dilation=2"])
@pytest.mark.parametrize("method", ["triton-bands", "triton-monarch", "triton-half"])
def test_stride_and_dilation_are_refused_with_a_reason(method, rest):
    problem = Problem.parse(line("correlate", DEPTHWISE, "2x2x40", "2x7", "float16", rest))
    said = methods.named(method).refuses(problem)
    assert rest.split()[1].split("=")[0] in (said or "")


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(6))
def test_methods_equal_the_definition_thoroughly(chunk):
    verdicts = [check(Problem.parse(text), method, Policy(tolerance=0.5)) for method, text in THOROUGH[chunk::6]]
    assert set(verdicts) == {"right"}


def gates(dtype, n, t):
    random = np.random.default_rng(n)
    return [torch.from_numpy(random.standard_normal(s)).to(dtype) for s in ((2, 2, n), (2, t), (2, 2, n), (2, 2, n))]


def composed(x, k, a, b, circular):
    """The definition, in torch.fft."""
    n = x.shape[-1] if circular else x.shape[-1] + k.shape[-1] - 1
    return b * torch.fft.irfft(torch.fft.rfft(a * x, n) * torch.fft.rfft(k, n), n)[..., : x.shape[-1]]


@pytest.mark.parametrize(
    ("dtype", "n", "t", "circular", "policy", "near"),
    [
        (torch.float32, 300, 200, False, None, 2e-6),
        (torch.float16, 256, 40, True, Policy(tolerance=0.01), 5e-3),
        (torch.float16, 100, 100, False, None, 2e-3),  # the operands' own rounding
    ],
)
def test_the_gated_convolution_and_its_derivatives(dtype, n, t, circular, policy, near):
    operands = gates(dtype, n, t)
    ours, theirs = ([a.detach().to(d, copy=True).requires_grad_() for a in operands] for d in (dtype, torch.float64))
    y = gated_conv(*ours, circular=circular, policy=policy)
    assert "faltung_gated" in y.grad_fn.name()  # not by the planner's methods
    wanted = composed(*theirs, circular)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    y.backward(cotangent)
    wanted.backward(cotangent.double())
    for name, a, b in [("y", y, wanted), *((s, p.grad, q.grad) for s, p, q in zip("xkab", ours, theirs, strict=True))]:
        assert a.dtype == dtype
        assert float(((a - b).abs().max() / b.abs().max()).detach()) < near, name


@pytest.mark.parametrize("n", [256, 1024, 2048])
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(torch.float16, 4e-4, 7e-4), (torch.bfloat16, 5e-3, 1e-2), (torch.float32, 1e-7, 4e-7)],
    ids=["float16", "bfloat16", "float32"],
)
def test_the_error_in_the_mean_square_is_what_is_stated(dtype, low, high, n):
    """Before the result is rounded. Below the band products would not be of that type; bfloat16 is cut off, not rounded, here."""
    random = np.random.default_rng(n)
    x, k = (torch.from_numpy(random.standard_normal(shape)).to(dtype) for shape in ((1, 2, n), (1, n)))
    kernel = monarch.Monarch(dtype, n, torch.device("cpu"))
    y = kernel.convolve(x, kernel.spectrum(k), 0, n, dtype=torch.float32)
    wanted = composed(x.double(), k.double()[:, None], torch.ones(()), torch.ones(()), False)
    assert low <= float((y - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()) <= high


@pytest.mark.parametrize(("before", "after"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("circular", [False, True])
def test_derivatives_of_derivatives_of_the_gated_convolution(before, after, circular):
    """A product of the first derivatives with given numbers, differentiated: by the kernels, and by the definition."""
    operands = gates(torch.float32, 256, 256 if circular else 40)
    there = [True, True, before, after]
    draw = torch.Generator().manual_seed(1)
    weights = [torch.randn(t.shape, generator=draw, dtype=torch.float64) for t in operands]
    cotangent = torch.randn(operands[0].shape, generator=draw, dtype=torch.float64)

    def slopes(call, dtype):
        given = [t.detach().to(dtype).requires_grad_() if on else None for t, on in zip(operands, there, strict=True)]
        known = [t for t in given if t is not None]
        flow = cotangent.to(dtype).requires_grad_()
        first = torch.autograd.grad(call(*given), known, flow, create_graph=True)
        chosen = [w.to(dtype) for w, on in zip(weights, there, strict=True) if on]
        total = sum((a * w).sum() for a, w in zip(first, chosen, strict=True))
        return first + torch.autograd.grad(total, [flow, *known])

    def definition(x, k, a, b):
        one = torch.ones((), dtype=x.dtype)
        return composed(x, k, one if a is None else a, one if b is None else b, circular)

    def ours(x, k, a, b):
        y = gated_conv(x, k, a, b, circular=circular)
        assert "faltung_gated" in y.grad_fn.name()
        return y

    for n, (got, wanted) in enumerate(zip(slopes(ours, torch.float32), slopes(definition, torch.float64), strict=True)):
        assert float(((got - wanted).abs().max() / wanted.abs().max()).detach()) < 1e-5, n


@pytest.mark.slow
def test_third_derivatives_are_there():
    x, k, a, b = (t.requires_grad_() for t in gates(torch.float32, 12, 5))

    def chain(call, given):
        found = call(*given).sin().sum()
        for _ in range(3):
            (slope,) = torch.autograd.grad(found, given[1], create_graph=True)
            found = (slope / 10).sin().sum()
        return found

    wide = [t.detach().double().requires_grad_() for t in (x, k, a, b)]
    got, wanted = chain(gated_conv, (x, k, a, b)), chain(lambda *given: composed(*given, False), wide)
    assert float((abs(got - wanted) / abs(wanted)).detach()) < 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch on its own internals
@pytest.mark.parametrize("both", [True, False])
def test_the_operators_keep_torchs_contract(both):
    """Schema, shapes of fake tensors, derivatives as they are registered, and traced graphs."""
    x, k, a, b = gates(torch.float32, 20, 5)
    a, b = (a, b) if both else (None, None)
    learn = [t if t is None else t.requires_grad_() for t in (x, k, a, b)]
    torch.library.opcheck(torch.ops.faltung.gated.default, (*learn, False, False))
    torch.library.opcheck(
        torch.ops.faltung.gated_back.default, (torch.randn_like(x).requires_grad_(), *learn, False, False)
    )


@pytest.mark.parametrize("circular", [False, True])
def test_partial_filters_go_through_the_kernels_too(circular):
    operands = gates(torch.float32, 256, 100)
    x, k, a, b = (t.requires_grad_() for t in operands)
    y = gated_conv(x, k, a, b, circular=circular, partial=30)
    assert "faltung_gated" in y.grad_fn.name()
    wide = [t.detach().double().requires_grad_() for t in operands]
    wanted = composed(wide[0], wide[1][:, :30], *wide[2:], circular)
    slopes = [torch.autograd.grad(out.sum(), known) for out, known in ((y, (x, k, a, b)), (wanted, wide))]
    for got, true in zip((y, *slopes[0]), (wanted, *slopes[1]), strict=True):
        assert float(((got - true).abs().max() / true.abs().max()).detach()) < 2e-6
    assert not slopes[0][1][:, 30:].any()
    for wrong in (0, 101):
        with pytest.raises(FaltungError, match="partial from 1"):
            gated_conv(x, k, partial=wrong)


def test_policies_that_name_methods_are_the_planners():
    x, k, *_ = gates(torch.float32, 64, 20)
    x.requires_grad_()
    for policy, ours in ((None, True), (Policy(without="fft"), True), (Policy(only="direct"), False),
                         (Policy(without="triton-monarch"), False)):  # fmt: skip
        y = gated_conv(x, k, policy=policy)
        assert ("faltung_gated" in y.grad_fn.name()) == ours


def test_results_cannot_see_the_future():
    x, k, *_ = gates(torch.float32, 256, 256)
    x.requires_grad_()
    gated_conv(x, k)[:, :, 100].sum().backward()
    late = float(x.grad[:, :, 101:].abs().max())
    assert late < 1e-6 * float(x.grad.abs().max())


def test_the_door_leads_to_the_kernels_and_a_nan_leads_out_again():
    x, k = torch.randn(1, 2, 300), torch.randn(2, 300)
    pattern, policy = "b c *s, c *s -> b c *s", Policy(only="triton-monarch")
    wanted = faltung.convolve(x.double(), k.double(), pattern)
    came = faltung.convolve(x, k, pattern, policy=policy)
    assert float((came - wanted).abs().max() / wanted.abs().max()) < 2e-6
    x[0, 0, 200] = float("nan")
    with pytest.raises(FaltungError, match="not finite"):
        faltung.convolve(x, k, pattern, policy=policy)
    y = faltung.convolve(x, k, pattern, policy=Policy(without=("direct", "overlap", "fft", "blocks")))
    assert bool(y[:, 1].isfinite().all())
    assert bool(y[0, 0, :200].isfinite().all())


def test_bad_operands_get_a_sentence():
    x, k, a, _ = gates(torch.float32, 64, 20)
    with pytest.raises(FaltungError, match="in_gate of shape"):
        gated_conv(x, k, a[..., :5])
    with pytest.raises(FaltungError, match="match them"):
        gated_conv(x, k[:1])


@pytest.mark.slow
def test_tuning_keeps_the_fastest_tiles(tmp_path, monkeypatch):
    from faltung.kernels import gpu
    from faltung.planner import tune_gpu

    monkeypatch.setenv("FALTUNG_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tune_gpu, "TURNS", 1)
    monkeypatch.setattr(tune_gpu, "LENGTHS", (256, 4096))
    seen = []

    def timer(call):
        call()
        seen.append(call)
        return 0.25 if len(seen) % 9 == 3 else 1.0

    for cached in (gpu._measured, gpu.tiles):
        cached.cache_clear()
    assert len(tune_gpu.SPACE["gather"]) == 9
    tune_gpu.tune_gpu("cpu", timer, ("gather",), rates=False)
    assert gpu.tiles("gather", "float32", 0, "none", 80) == tune_gpu.SPACE["gather"][2]
    # Transforms of both lengths run; the longer one is kept where a pass around shorter ones is no faster.
    monkeypatch.setitem(tune_gpu.DTYPES, "monarch", ("float16",))
    monkeypatch.setitem(tune_gpu.SPACE, "monarch", ({"order": 2, "warps": 4}, {"order": 2, "warps": 8}))
    monkeypatch.setattr(tune_gpu, "WARM", 1)
    for cut_is_faster, length in ((False, 4096), (True, 256)):
        order = iter([1.0] * 2 + [2.0] * 2 + [1.0 if cut_is_faster else 3.0])
        tune_gpu.tune_gpu("cpu", lambda call, order=order: next(order), ("monarch",), rates=False)
        assert gpu.tiles("monarch", "float16", 4096, "none", 80)["length"] == length
    for cached in (gpu._measured, gpu.tiles):
        cached.cache_clear()


def test_the_benchmark_checks_before_it_times():
    spec = spec_from_file_location("gpu_benchmark", Path(faltung.__file__).parents[2] / "benchmarks" / "gpu.py")
    benchmark = module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    assert benchmark.check("cpu") == []
    assert "allowed" in benchmark.compare(torch.tensor([1.1]), torch.tensor([1.0]), 1e-3, "a wrong value")[0]
