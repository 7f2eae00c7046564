"""Layers in training: faltung.nn.Conv against torch.nn.Conv1d and Conv2d, forward and backward, eager and compiled, and memory.

    python benchmarks/layers.py              about four minutes, writes benchmarks/results/layers.md
    python benchmarks/layers.py --eager      without torch.compile, one minute, printed only
    python benchmarks/layers.py --only dense

Both layers share their parameters and take turns. Backward is the derivative of the sum of all results for input, weight and
bias. Memory is what the high-water mark of a process of its own grows by in three rounds of forward and backward behind one with a
single sample, input, result and gradients included. Times are medians; the last columns are torch over ours (below 1: torch is
faster), and ours compiled over ours eager.
"""

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable

import timing

timing.settle()

import torch
from torch import nn

from timing import high_water, interleaved, megabytes, rows, span

# name: (class, arguments, input's shape)
CASES = {
    "dense 3², 64 → 64 on 56², batch 8": (
        nn.Conv2d, {"in_channels": 64, "out_channels": 64, "kernel_size": 3, "padding": 1}, (8, 64, 56, 56)),
    "depthwise 7², 96 on 56², batch 8": (
        nn.Conv2d, {"in_channels": 96, "out_channels": 96, "kernel_size": 7, "padding": 3, "groups": 96}, (8, 96, 56, 56)),
    "depthwise 31², 64 on 56², batch 8": (
        nn.Conv2d, {"in_channels": 64, "out_channels": 64, "kernel_size": 31, "padding": 15, "groups": 64}, (8, 64, 56, 56)),
    "1-D 1024 taps depthwise, 32 × 8192, batch 4": (
        nn.Conv1d, {"in_channels": 32, "out_channels": 32, "kernel_size": 1024, "padding": 512, "groups": 32}, (4, 32, 8192)),
    "1-D 1024 taps dense, 16 → 16 × 8192, batch 2": (
        nn.Conv1d, {"in_channels": 16, "out_channels": 16, "kernel_size": 1024, "padding": 512}, (2, 16, 8192)),
}  # fmt: skip
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def layers(case: str, layout: str) -> tuple[dict[str, nn.Module], torch.Tensor]:
    """torch's layer and ours with the same parameters, and an input."""
    from faltung.nn import Conv

    kind, arguments, shape = CASES[case]
    torch.manual_seed(0)
    theirs = kind(**arguments)
    x = torch.randn(shape)
    if layout == "channels last":
        theirs, x = theirs.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    return {"torch": theirs, "ours": Conv.from_torch(theirs)}, x


def forward(layer: Callable, x: torch.Tensor) -> Callable:
    def call() -> torch.Tensor:
        with torch.no_grad():
            return layer(x)

    return call


def both(layer: Callable, x: torch.Tensor, parameters: list) -> Callable:
    """Forward and backward, gradients thrown away as an optimizer would."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()

    def call() -> None:
        x.grad = None
        for p in parameters:
            p.grad = None
        layer(x).sum().backward()

    return call


def times(case: str, layout: str, compiled: bool) -> list[tuple]:
    """A line for inference and one for training."""
    made, x = layers(case, layout)
    parameters = list(made["torch"].parameters())
    torch.testing.assert_close(made["ours"](x), made["torch"](x), rtol=1e-3, atol=1e-4)
    ways: dict[str, Callable] = dict(made)
    if compiled:
        torch._dynamo.reset()  # the limit of recompilations is for one layer, not for all of a table
        ways |= {f"{name} compiled": torch.compile(layer, fullgraph=True) for name, layer in made.items()}
    lines = []
    for work, make in (("forward", forward), ("both", lambda layer, x: both(layer, x, parameters))):
        seconds, _ = interleaved({name: make(layer, x) for name, layer in ways.items()})
        line = [case, layout, work, span(seconds["torch"]), span(seconds["ours"])]
        if compiled:
            line += [span(seconds["torch compiled"]), span(seconds["ours compiled"])]
        line.append(f"{seconds['torch'] / seconds['ours']:.2f}")
        if compiled:
            line.append(f"{seconds['torch compiled'] / seconds['ours compiled']:.2f}")
            line.append(f"{seconds['ours compiled'] / seconds['ours']:.2f}")
        lines.append(tuple(line))
        print(*line, sep=" | ", flush=True)
    return lines


def grown(case: str, layout: str, who: str) -> int:
    """Bytes by which this process grows at its peak; run in a process of its own."""
    made, x = layers(case, layout)
    layer = made[who]
    both(layer, x[:1], list(layer.parameters()))()  # libraries loaded and kernels in place, with one sample
    call = both(layer, x, list(layer.parameters()))
    before = high_water()
    for _ in range(3):
        call()
    return high_water() - before


def promised(case: str, layout: str) -> int:
    """The working memory that the plans of the result and of both gradients state: the most of the three."""
    from faltung import Policy, Spec
    from faltung.door import problem_of
    from faltung.planner import plan_problem
    from faltung.torch_memory import stated_last

    made, x = layers(case, layout)
    layer = made["ours"]
    thin = layer.groups > 1
    pattern, k = "b c *s, o c *s -> b o *s", tuple(layer.weight.shape)
    if thin:
        pattern, k = "b c *s, c *s -> b c *s", (k[0], *k[2:])
    whole = problem_of(
        False, Spec(tuple(x.shape), "float32"), Spec(k, "float32"), pattern, mode=layer.pads, host="torch"
    )
    problems = [whole.gradient(unknown) for unknown in ("out", "x", "k")]
    if layout == "channels last":
        problems = [stated_last(problem.text).problem for problem in problems]
    return max(plan_problem(problem, Policy(threads=2)).scratch for problem in problems)


def memory(case: str, layout: str) -> tuple:
    found = {}
    for who in ("torch", "ours"):
        run = subprocess.run(
            [sys.executable, __file__, "--grown", json.dumps([case, layout, who])],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found[who] = int(run.stdout.split()[-1])
    stated = promised(case, layout)
    line = (case, layout, *map(megabytes, (*found.values(), stated, found["ours"] - found["torch"])))
    print(*line, sep=" | ", flush=True)
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--grown", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    if options.grown:
        print(grown(*json.loads(options.grown)))
        return
    chosen = [
        (case, layout)
        for case in CASES
        if options.only in case
        for layout in LAYOUTS
        if len(CASES[case][2]) == 4 or layout == "channels first"
    ]
    head = ["layer", "layout", "work", "torch", "ours"]
    head += [] if options.eager else ["torch compiled", "ours compiled"]
    head += ["torch / ours"] + ([] if options.eager else ["compiled: torch / ours", "ours: compiled / eager"])
    lines = [line for case, layout in chosen for line in times(case, layout, not options.eager)]
    peaks = [memory(case, layout) for case, layout in chosen]
    text = (
        f"# Layers on {timing.cpu()}, 2 threads\n\n{rows(head, lines)}\n\n## Memory\n\nPeak of forward and backward beyond what "
        "the process held with its layer, input and loaded libraries, after one sample. *Stated*: the working memory of the "
        "plans.\n\n" + rows(("layer", "layout", "torch", "ours", "stated", "ours beyond torch"), peaks)
    )
    if options.eager or options.only:
        print(text)
    else:
        timing.write("layers", text)


if __name__ == "__main__":
    main()
