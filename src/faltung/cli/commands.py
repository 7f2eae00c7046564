"""The commands and their options. Each turns words into arguments, calls the library, and prints."""

import json
import runpy
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import faltung
from faltung import media
from faltung.arrays import import_torch
from faltung.cli import streaming, work
from faltung.cli.apply import Request, explained
from faltung.cli.grep import grep
from faltung.cli.report import compare, report
from faltung.cli.words import boundary_of, bytes_of, names_of, shape_of, sides_of
from faltung.errors import ArgumentError, FileError, RefusedError
from faltung.problem import Problem

app = typer.Typer(
    name="faltung",
    help="Convolve images, sounds and volumes by the fastest method that is right, and say why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Only = Annotated[str, typer.Option("--only", help="Methods to choose from, comma-separated; one name forces it.")]
Without = Annotated[str, typer.Option("--without", help="Methods not to use, comma-separated.")]
Tolerance = Annotated[float | None, typer.Option("--tolerance", help="Largest relative error bound, between 0 and 1.")]
Memory = Annotated[str | None, typer.Option("--memory", help="Memory budget, such as 500MB or 2GiB.")]
Threads = Annotated[int | None, typer.Option("--threads", help="Processors to use, at least 1.")]
Over = Annotated[str | None, typer.Option("--over", help="Algebra, such as max-plus; see 'faltung list algebras'.")]
Mode = Annotated[str | None, typer.Option("--mode", help="full, same or valid. Images: same. Sounds: full.")]
Edge = Annotated[
    str | None,
    typer.Option("--boundary", help="constant, edge, reflect, symmetric, wrap or a number. Images: reflect."),
]
Stride = Annotated[str, typer.Option("--stride", help="Keep every n-th position, such as 2 or 2x1.")]
Correlate = Annotated[bool, typer.Option("--correlate", help="Do not flip the filter.")]


def run(arguments: Sequence[str]) -> int:
    """Run the words of one call; usage mistakes become ArgumentError with one sentence."""
    # typer carries its own click by now, or uses the package: the base of its errors is the same name in both
    usage: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), prog_name="faltung", standalone_mode=False)
    except usage as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return 0
        sentence = " ".join(error.format_message().split()).rstrip(".")
        raise ArgumentError(f"{sentence}; 'faltung --help' lists what there is") from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    if code == 130:  # an interrupt that typer has caught
        raise KeyboardInterrupt
    return int(code or 0)


@app.command()
def convolve(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="PNG, JPEG, TIFF, WAV, FLAC or NPY files.")],
    kernel: Annotated[
        str,
        typer.Option(
            "--kernel", "-k", help="A filter such as gaussian:sigma=4, or a file; see 'faltung list filters'."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; a folder for several inputs.")
    ] = None,
    over: Over = None,
    mode: Mode = None,
    boundary: Edge = None,
    stride: Stride = "1",
    correlate: Correlate = False,
    scale: Annotated[float, typer.Option("--scale", help="Multiply the filter, such as 0.5 for a softer echo.")] = 1.0,
    floats: Annotated[
        bool, typer.Option("--float", help="Write unrounded floats (TIFF, WAV; NPY always does).")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Print the plan; without -o only that.")] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Sounds and .npy larger than memory, piece by piece; - is a pipe of sound.")
    ] = False,
    only: Only = "",
    without: Without = "",
    tolerance: Tolerance = None,
    memory: Memory = None,
    threads: Threads = None,
) -> None:
    """Filter files: pictures, sounds, volumes, arrays. They keep dtype, range and metadata.

    With --stream a sound or array may be larger than memory; `-` reads a WAV or AU from a pipe and writes a WAV into one.

    With --over max-plus, box:N and disk:R are flat structuring elements (zeros on their support), so that the result is the
    largest value in a neighbourhood (with min-plus the smallest). Pictures with alpha are weighted by their opacity.
    """
    policy = _policy(only, without, tolerance, memory, threads)
    request = Request(
        kernel, over, mode, boundary_of(boundary), sides_of("--stride", stride), correlate, scale, policy
    )  # fmt: skip
    if output is None and not explain:
        raise ArgumentError.of("convolve", "a place to write to, or --explain", "neither", "add -o FILE")
    console = Console(stderr=True)
    if stream:
        if len(inputs) > 1 or explain or output is None:
            raise ArgumentError.of("--stream", "one input and -o, without --explain", "others", "stream one by one")
        for note in streaming.stream_file(inputs[0], output, request, floats, console):
            print(f"faltung: {note}", file=sys.stderr)
        return
    if explain:
        for path in inputs:
            print(explained(media.read(path), request))
    if output is not None:
        for note in work.convolve_files(inputs, output, request, floats, console):
            print(f"faltung: {note}", file=sys.stderr)


@app.command()
def explain(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SHAPE KERNELSHAPE | PROBLEM", help="Shapes such as 2048x2048 9x9, or a problem's line."
        ),
    ],
    dtype: Annotated[str, typer.Option("--dtype", help="Number type of the signal.")] = "float32",
    kernel_dtype: Annotated[
        str | None, typer.Option("--kernel-dtype", help="Number type of the filter; the signal's.")
    ] = None,
    pattern: Annotated[str | None, typer.Option("--pattern", help="Axes, such as 'b c *s, o c *s -> b o *s'.")] = None,
    over: Over = None,
    mode: Mode = None,
    boundary: Edge = None,
    stride: Stride = "1",
    dilation: Annotated[str, typer.Option("--dilation", help="Gap between taps, such as 2 or 2x1.")] = "1",
    correlate: Correlate = False,
    only: Only = "",
    without: Without = "",
    tolerance: Tolerance = None,
    memory: Memory = None,
    threads: Threads = None,
) -> None:
    """Print the plan for two shapes, or for a problem as 'explain' prints it: every method, its cost or why it refuses."""
    policy = _policy(only, without, tolerance, memory, threads)
    if len(words) == 2:
        x = faltung.Spec(shape_of("SHAPE", words[0]), dtype)
        k = faltung.Spec(shape_of("KERNELSHAPE", words[1]), kernel_dtype or dtype)
        edge = boundary_of(boundary)
        plan = faltung.plan(
            x, k, pattern, flip=not correlate, mode=mode or "same", boundary="constant" if edge is None else edge,
            stride=sides_of("--stride", stride), dilation=sides_of("--dilation", dilation), over=over, policy=policy,
        )  # fmt: skip
    elif len(words) == 1:
        from faltung.planner import plan_problem

        plan = plan_problem(faltung.Problem.parse(words[0]), policy)
    else:
        raise ArgumentError.of("explain", "two shapes or one problem in quotes", f"{len(words)} words", "see --help")
    print(plan)


@app.command()
def tune(
    problems: Annotated[
        Path | None,
        typer.Option(help="Instead: time the methods of these problems, one line each, and record the fastest."),
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Instead: measure the tile sizes of the CUDA device's kernels.")
    ] = False,
) -> None:
    """Measure this machine once, so that the planner's costs are its own."""
    if gpu:
        refusal = import_module("faltung.kernels.gpu").refuses("cuda")
        if refusal is not None or not import_torch("tune --gpu").cuda.is_available():
            raise RefusedError.of("tune --gpu", "a CUDA device", refusal or "none that torch finds", "run it on one")
        for path in import_module("faltung.planner.tune_gpu").tune_gpu():
            print(f"wrote {path}")
        return
    from rich.progress import Progress

    tuning = import_module("faltung.planner.tune")
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("measuring", total=1.0)

        def progress(done: float, what: str = "measuring") -> None:
            bar.update(task, completed=done, description=what)

        where = tuning.tune(progress=progress) if problems is None else tuning.measure_wisdom(_problems(problems))
    print(f"wrote {where}")
    if problems is None:
        lost = {
            rates: f"{100 * regret - 100:.0f} %" for rates, regret in json.loads(where.read_text())["regret"].items()
        }
        more, shipped = lost["tuned"], lost["shipped"]
        print(f"choices of the drawn problems took {more} longer than the fastest ways; {shipped} by the shipped rates")


def _problems(path: Path) -> list[Problem]:
    """The problems of a file: lines of text, comments and table columns before the problem left out."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError.of(str(path), "a text file of problems", str(error), "write one problem a line") from None
    return [Problem.parse(line.rpartition("|")[2]) for line in lines if line.strip() and not line.startswith("#")]


app.command()(grep)
app.command()(report)
app.command()(compare)

KINDS = ("methods", "algebras", "domains", "operators", "kernels", "filters")


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")],
) -> None:
    """List what there is: methods, algebras, domains, operators, kernels or filters."""
    if kind not in KINDS:
        raise ArgumentError.of("list", f"one of {', '.join(KINDS)}", repr(kind), "choose one of these")
    room = import_module(f"faltung.{'nn' if kind == 'operators' else kind}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "what it is", "source", *(("write",) if kind == "filters" else ())):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for item in room.ALL:
        name = getattr(item, "name", None) or item.__name__
        name += f" ({item.tool})" if hasattr(item, "tool") else ""
        summary = getattr(item, "summary", None) or (item.__doc__ or "").strip().partition("\n")[0]
        source = getattr(item, "source", "") or getattr(item, "source_note", "")
        table.add_row(name, summary, str(source), *(("  ".join(item.examples),) if kind == "filters" else ()))
    # into a file or a pipe whole lines go, whatever the width of the terminal
    Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(table)


@app.command()
def bench(quick: Annotated[bool, typer.Option("--quick", help="A few small problems, one minute.")] = False) -> None:
    """Run the benchmarks of a checkout of faltung."""
    here = Path.cwd()
    script = next(
        (f / "benchmarks" / "run.py" for f in (here, *here.parents) if (f / "benchmarks" / "run.py").is_file()), None
    )
    if script is None:
        raise FileError.of(
            "bench", "a checkout of faltung, with benchmarks/run.py", f"{here}", "change into a checkout"
        )
    before = sys.argv
    sys.argv = [str(script), *(["--quick"] if quick else [])]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before


@app.command()
def tour(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the page.")] = Path("tour"),
) -> None:
    """Do the main job on sample data (a photo, a sound, a volume) and write a page with pictures, sounds and plans."""
    where = import_module("faltung.tour").write(output)
    print(f"wrote {where}")


@app.command()
def version() -> None:
    """Print the version."""
    print(faltung.__version__)


def _policy(only: str, without: str, tolerance: float | None, memory: str | None, threads: int | None) -> Any:
    from faltung import methods

    for name in (*names_of(only), *names_of(without)):
        methods.named(name)
    budget = None if memory is None else bytes_of("--memory", memory)
    return faltung.Policy(
        tolerance=tolerance, memory=budget, only=names_of(only), without=names_of(without), threads=threads
    )
