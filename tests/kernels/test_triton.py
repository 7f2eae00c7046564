"""Triton kernels: right in its interpreter, compiled for devices that are not here, planned where nothing of them can run."""

import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import faltung
from faltung import Problem, Spec, methods
from faltung.kernels import ALL, gpu
from faltung.planner import plan_problem

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from faltung.kernels.windows.contract import Geometry  # noqa: E402
from faltung.testing.ahead import compiled, starts  # noqa: E402
from faltung.testing.triton_kernels import TRITON_CHECKS, UNIT  # noqa: E402

HERE = Path(__file__).parent
NAMES = ("triton-monarch", "triton-half", "triton-bands", "triton-windows")
REGISTERS = 65536  # of a multiprocessor, for all threads of a block


def interpreted(marks):
    """The tests of `interpreted_triton.py`, with Triton's switch set before it is imported."""
    paths = [str(Path(faltung.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", marks, str(HERE / "interpreted_triton.py")],
        env=environment, cwd=HERE.parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.mark.slow  # a minute
def test_kernels_and_methods_in_the_interpreter():
    interpreted("not slow")


@pytest.mark.slow
def test_kernels_and_methods_in_the_interpreter_thoroughly():
    interpreted("slow")


# -- machine code for devices that are not here --------------------------------------------------------------------------------


def monarch_starts(module, dtype, n):
    x = torch.zeros(2, 2, n, dtype=dtype)
    kernel = module.Monarch(dtype, n, x.device)
    kernel.convolve(x, kernel.spectrum(x[:, 0]), 0, n, before=x, after=x)
    module.Monarch(dtype, n, x.device, "summed").filters(x, x, n - 1, n)


def bands_starts(module, dtype, n):
    x, k = torch.zeros(2, 2, n, n, dtype=dtype), torch.zeros(2, 31, 31, dtype=dtype)
    module.correlate(x, k, (15, 15), (n, n), dtype, turned=True)
    module.filters(x, x, (15, 15), (31, 31), dtype)
    module.correlate(x[:, :, 0], k[:, 0], (30,), (n,), dtype)
    module.filters(x[:, :, 0], x[:, :, 0], (30,), (31,), dtype)


def windows_starts(module, dtype, n):
    g = Geometry((n, n), (3, 3), (n, n), (1, 1), (1, 1), (1, 1), float("-inf"))
    x, k = torch.zeros(2, 2, 3, n, n, dtype=dtype), torch.zeros(2, 3, 3, 3, 3, dtype=dtype)
    for of in ("max", "log"):
        module.results(x, k, of, g)
        for unknown in "xk":
            module.gradient(x, k, x, of, g, unknown)


def gather_starts(module, dtype, n):
    x, y, w = (
        torch.zeros(2, n, 70, dtype=dtype),
        torch.zeros(2, 30, 70, dtype=dtype),
        torch.zeros(2, 30, 4, dtype=dtype),
    )
    index = torch.zeros(2, 30, 4, dtype=torch.int64)
    module.sums(x, index, w, y)
    module.rows(index, w, y, x)
    module.weights(x, index, y, w)


STARTS = {"long": monarch_starts, "bands": bands_starts, "windows": windows_starts, "gather": gather_starts}
QUICK = [("long", "float16", 1024), ("bands", "float16", 56), ("windows", "float32", 60), ("gather", "float32", 50)]
THOROUGH = [
    *(("long", dtype, n) for dtype in ("float16", "bfloat16", "float32") for n in (256, 2048, 8192, 65536)),
    ("bands", "float32", 56), ("bands", "bfloat16", 56), ("windows", "float64", 60),
]  # fmt: skip


def compiles(home, dtype, n, capability, tmp_path, monkeypatch):
    """Every kernel that a use starts becomes machine code that a multiprocessor of that capability has room for."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    module = importlib.import_module(f"faltung.kernels.{home}.on_triton")
    with starts(module, capability) as seen:
        STARTS[home](module, getattr(torch, dtype), n)
    kernels = {start.name: start for start in seen}
    assert len(kernels) >= 2
    shared = {80: 163, 90: 227}[capability] * 1024
    for name, start in kernels.items():
        code = compiled(start, capability)
        print(capability, code, name)
        assert code.registers * 32 * start.warps <= REGISTERS, name
        assert code.shared <= shared, name
        spilled = 2000 if "P=tf32x3" in name else 1100
        assert code.stack <= spilled, f"{name} spills {code.stack} bytes a thread"


@pytest.mark.parametrize(("home", "dtype", "n", "capability"), [(*QUICK[0], 80), *((*case, 90) for case in QUICK)])
def test_kernels_compile_for_devices(home, dtype, n, capability, tmp_path, monkeypatch):
    compiles(home, dtype, n, capability, tmp_path, monkeypatch)


def test_passes_around_long_rows_compile_however_few_their_rows(tmp_path, monkeypatch):
    """A matrix unit takes 16 rows at least, which the interpreter would never notice."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    module = importlib.import_module("faltung.kernels.long.on_triton")
    with starts(module, 80) as seen:
        x = torch.zeros(1, 1, 4096, dtype=torch.float16)
        kernel = module.Monarch(x.dtype, 4096, x.device)
        kernel.convolve(x, kernel.spectrum(x[0]), 0, 4096)
    passes = [start for start in seen if start.kernel.__name__.startswith("_outer")]
    assert len(passes) == 2
    assert all(compiled(start, 80).stack == 0 for start in passes)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("home", "dtype", "n"), [*QUICK[1:], *THOROUGH])
def test_more_kernels_compile_for_devices(home, dtype, n, capability, tmp_path, monkeypatch):
    compiles(home, dtype, n, capability, tmp_path, monkeypatch)


def test_code_that_does_not_compile_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    module = importlib.import_module("faltung.kernels.bands.on_triton")
    with starts(module, 90) as seen:
        bands_starts(module, torch.float16, 8)
    seen[0].constants["BW"] = 24  # no power of two
    with pytest.raises(Exception, match="power of 2"):
        compiled(seen[0], 90)


# -- planning ----------------------------------------------------------------------------------------------------------------

TENSORS = "host=torch device=cuda:0"
LONG = f'convolve "b c *s, c *s -> b c *s" x=4x64x{{0}}:{{1}} k=64x{{0}}:{{1}} out={{1}} pad={{2}}:0 {TENSORS}{{3}}'
LARGE = f'correlate "b c *s, c *s -> b c *s" x=8x64x56x56:{{0}} k=64x{{1}}x{{1}}:{{0}} out={{0}} {{2}} {TENSORS}{{3}}'
TROPICAL = f'correlate "b c *s, c *s -> b c *s" x=4x64x56:float32 k=64x7:float32 out=float32 pad=3:3 {TENSORS} algebra={{}}{{}}'


@pytest.mark.parametrize("unknown", ["", " unknown=x", " unknown=k"])
def test_plans_for_a_device_that_is_not_here(unknown):
    plan = plan_problem(Problem.parse(LONG.format(65536, "float32", 65535, unknown)))
    assert plan.method == "triton-monarch"
    assert all(f"{name:<16}" in str(plan) for name in NAMES)
    assert plan_problem(Problem.parse(LARGE.format("float16", 31, "pad=15:15,15:15", unknown))).method == "triton-bands"
    for algebra in ("max-plus", "log"):
        assert plan_problem(Problem.parse(TROPICAL.format(algebra, unknown))).method == "triton-windows"


def test_a_tolerance_opens_half_precision():
    problem = Problem.parse(LONG.format(16384, "float16", 16383, ""))
    assert "above the tolerance" in plan_problem(problem).refusals["triton-half"]
    assert plan_problem(problem, faltung.Policy(tolerance=0.01)).method == "triton-half"


def test_dense_layers_stay_with_the_vendor():
    dense = '"b c *s, o c *s -> b o *s" x=32x96x56x56:float16 k=96x96x3x3:float16 out=float16 pad=1:1,1:1'
    text = f"correlate {dense} {TENSORS}"
    plan = plan_problem(Problem.parse(text))
    assert plan.method == "onednn"
    assert "sums 96 channels into 96" in plan.refusals["triton-bands"]


def test_every_refusal_is_a_sentence_and_the_processor_is_none_of_theirs():
    plan = faltung.plan(Spec((2, 3, 64), "float32"), Spec((3, 9), "float32"), "b c *s, c *s -> b c *s")
    (said,) = {plan.refusals[name] for name in NAMES}
    assert said == "works on torch tensors, NumPy arrays came; pass torch.from_numpy(x) to use it"
    x, k = torch.zeros(2, 3, 64), torch.zeros(3, 9)
    plan = faltung.plan(x, k, "b c *s, c *s -> b c *s")
    if not gpu.interpreted():
        assert {plan.refusals[name] for name in NAMES} == {"runs on CUDA devices, the arrays are on cpu"}


def test_without_triton_the_refusal_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    said = methods.named("triton-bands").refusal(Problem.parse(LARGE.format("float16", 7, "pad=3:3,3:3", "")))
    assert said == "needs triton, which is not installed; run: pip install 'faltung[gpu]'"


def test_a_result_computed_in_memory_goes_back_to_the_device():
    text = 'correlate "*s, *s -> *s" x=8:float64 k=3:float64 out=float64 pad=1:1 host=torch device=meta'
    plan = plan_problem(Problem.parse(text), faltung.Policy(only="definition"))
    assert plan.leave(np.zeros((1, 1, 1, 8))).device.type == "meta"


# -- tiles -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for measured tiles."""
    monkeypatch.setenv("FALTUNG_CACHE_DIR", str(tmp_path))
    gpu._measured.cache_clear()
    gpu.tiles.cache_clear()
    yield tmp_path
    gpu._measured.cache_clear()
    gpu.tiles.cache_clear()


def test_tiles_are_looked_up_from_the_nearest_table(folder):
    assert gpu.tiles("monarch", "float16", 256, "any", 80) == {"order": 2, "warps": 2, "length": 2048}
    assert gpu.tiles("monarch", "float16", 8192, "any", 90)["order"] == 3
    assert gpu.tiles("monarch", "float16", 8192, "any", 89)["length"] == 2048  # as 80, the nearest below
    gpu.record("NVIDIA H200", {"monarch.float16.256": {"warps": 4}})
    assert gpu.tiles("monarch", "float16", 256, "NVIDIA H200", 90)["warps"] == 4
    assert gpu.tiles("monarch", "float16", 256, "another", 90)["warps"] == 2
    gpu.record("NVIDIA H200", {"bands.float16": {"rows": 128}})
    assert gpu.tiles("monarch", "float16", 256, "NVIDIA H200", 90)["warps"] == 4
    assert gpu.tiles("bands", "float16", 0, "NVIDIA H200", 90) == {"rows": 128, "columns": 32, "warps": 4}


OLD = '{"faltung": "0.0.0", "devices": {"any": {"bands": {"rows": 1}}}}'


@pytest.mark.parametrize("content", ["", "[]", OLD, '{"faltung": 1}'])
def test_a_file_of_tiles_that_does_not_fit_is_put_aside(folder, content):
    gpu.tiles_path().write_text(content)
    assert gpu.tiles("bands", "float16", 0, "any", 90)["rows"] == 64


def test_a_rate_makes_the_cost_equal_the_time():
    from faltung.planner.choose import crossing
    from faltung.planner.machine import this_machine
    from faltung.planner.tune_gpu import STEPS, solved

    here = this_machine()
    for rate, method, line in STEPS:
        problem, on = Problem.parse(f"{line} {TENSORS}"), methods.named(method)
        assert on.refusal(problem) is None
        found = solved(here.rates, rate, on, problem, 0.25)
        machine = replace(here, rates={**here.rates, rate: found})
        assert on.cost(problem, machine) + crossing(on, problem, machine) == pytest.approx(0.25)
        assert solved(here.rates, rate, on, problem, 0.0) > 0  # a disturbed measurement makes nothing free


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device to tune")
def test_tuning_without_a_device_is_refused():
    from typer.testing import CliRunner

    from faltung.cli.commands import app

    result = CliRunner().invoke(app, ["tune", "--gpu"])
    assert result.exit_code != 0
    assert "a CUDA device" in str(result.exception) + result.output


# -- on a device -------------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("kernel", [k for k in ALL if k.tool == "triton"], ids=lambda kernel: kernel.name)
def test_kernels_equal_their_contracts_on_the_gpu(kernel):
    dtypes = tuple(UNIT) if kernel.name in ("long", "bands") else ("float32", "float64")
    assert TRITON_CHECKS[kernel.name](kernel.module, device="cuda", dtypes=dtypes) >= 18


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize(
    "text",
    [
        LONG.format(3000, "float32", 2999, ""),
        LARGE.format("float32", 13, "pad=6:6,6:6", ""),
        TROPICAL.format("max-plus", ""),
        TROPICAL.format("log", ""),
    ],
)
def test_plans_equal_the_definition_on_the_gpu(text):
    problem = Problem.parse(text)
    shapes = problem.x_shape, problem.k_shape
    x, k = (torch.randn(s, device="cuda", requires_grad=True) for s in shapes)
    plan = plan_problem(problem)
    assert plan.method.startswith("triton")
    once = faltung.torch_gate.solve(problem.text, "", x=x, k=k)
    judge = faltung.torch_gate.solve(problem.text, "only=definition", x=x, k=k)
    assert once.device.type == judge.device.type == "cuda"
    y = torch.randn_like(once)
    ours, theirs = (torch.autograd.grad(out, (x, k), y, retain_graph=True) for out in (once, judge))
    for a, b in zip((once, *ours), (judge, *theirs), strict=True):
        assert float((a - b).abs().max() / b.abs().max()) < 1e-4


SAMPLES = f'correlate "b c *s, b c *s -> b c *s" x=4x64x56x56:{{0}} k=4x64x13x13:{{0}} out={{0}} pad=6:6,6:6 {TENSORS}'


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize(
    ("text", "dtype", "policy", "near"),
    [
        (SAMPLES.format("float32"), "float32", "", 1e-4),
        (SAMPLES.format("bfloat16"), "bfloat16", "", 2e-2),
        (LARGE.format("float16", 13, "pad=6:6,6:6", ""), "float16", "", 5e-3),
        (LONG.format(3000, "float16", 2999, ""), "float16", "only=triton-half tolerance=0.01", 1e-2),
    ],
    ids=["each sample's own", "each sample's own, bfloat16", "float16 images", "float16 rows in half products"],
)
def test_plans_per_sample_and_in_halves_equal_the_definition_on_the_gpu(text, dtype, policy, near):
    """Against the definition in double precision, of the rounded operands; both derivatives too."""
    problem, kind = Problem.parse(text), getattr(torch, dtype)
    x, k = (torch.randn(s, device="cuda").to(kind).requires_grad_() for s in (problem.x_shape, problem.k_shape))
    plan = plan_problem(problem, faltung.Policy.parse(policy) if policy else faltung.Policy())
    assert plan.method == ("triton-half" if policy else "triton-bands")
    once = faltung.torch_gate.solve(problem.text, policy, x=x, k=k)
    wide = [t.detach().double().requires_grad_() for t in (x, k)]
    judge = faltung.torch_gate.solve(problem.text.replace(dtype, "float64"), "only=definition", x=wide[0], k=wide[1])
    y = torch.randn_like(once)
    ours, theirs = torch.autograd.grad(once, (x, k), y), torch.autograd.grad(judge, wide, y.double())
    for a, b in zip((once, *ours), (judge, *theirs), strict=True):
        assert a.dtype == kind
        assert float((a.double() - b).abs().max() / b.abs().max()) < near


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-5), ("float16", 6e-3)])
def test_gated_rows_and_all_their_derivatives_on_the_gpu(dtype, near):
    from faltung.nn.functional import gated_conv

    kind, n = getattr(torch, dtype), 3000
    shapes = ((2, 8, n), (8, n), (2, 8, n), (2, 8, n))
    given = [torch.randn(s, device="cuda").to(kind).requires_grad_() for s in shapes]
    y = gated_conv(*given, policy=faltung.Policy(tolerance=0.01))
    assert "faltung_gated" in y.grad_fn.name()  # the kernels, not the planner's methods
    x, k, a, b = wide = [t.detach().double().requires_grad_() for t in given]
    wanted = b * torch.fft.irfft(torch.fft.rfft(a * x, 2 * n) * torch.fft.rfft(k, 2 * n), 2 * n)[..., :n]
    cotangent = torch.randn_like(y)
    ours, theirs = torch.autograd.grad(y, given, cotangent), torch.autograd.grad(wanted, wide, cotangent.double())
    for one, other in zip((y, *ours), (wanted, *theirs), strict=True):
        assert float((one.double() - other).norm() / other.norm()) < near
