"""`faltung report` and `faltung compare`: everything about a trained network, and what got worse since the last one."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from faltung.cli.words import shape_of
from faltung.errors import ArgumentError, FileError, MissingExtraError


def report(
    model: Annotated[
        str,
        typer.Argument(
            help="A file (ONNX, .pt2, TorchScript, checkpoint, safetensors), timm:NAME, torchvision:NAME or module:function."
        ),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Page to write: .html, .json or .txt.")] = None,
    input: Annotated[str | None, typer.Option("--input", help="Shape of one input, such as 1x3x224x224.")] = None,
    level: Annotated[
        str, typer.Option("--level", help="fast: weights and graph; standard: one run; full: many, and times.")
    ] = "fast",
    data: Annotated[Path | None, typer.Option("--data", help="Samples for level full, a .npy array.")] = None,
    rules: Annotated[str | None, typer.Option("--rules", help="Rules to check, comma-separated; default all.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 where a fault or warning is found.")] = False,
) -> int:
    """Look at a trained network and write what was found: filters, spectra, aliasing, receptive fields, cost, faults.

    No code that comes with a file is run. `timm:NAME` and `torchvision:NAME` are trained networks of these packages, which fetch
    the weights. `module:function` imports that module and calls the function without arguments.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from faltung.report import inspect

    source = made(model) if ":" in model and not os.path.exists(model) else Path(model)
    example = None
    if input is not None:
        import torch

        drawn = torch.Generator().manual_seed(0)
        example = torch.randn(shape_of("faltung report", input), generator=drawn)
    errors = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), console=errors, transient=True, disable=not errors.is_terminal
    ) as bar:
        task = bar.add_task("reading", total=1.0)
        found = inspect(
            source, example, data=None if data is None else samples(data), level=level,
            rules=None if rules is None else rules.split(","),
            progress=lambda part, share: bar.update(task, description=part, completed=share),
        )  # fmt: skip
    if output is not None:
        found.save(output)
    text = found.to_json() if json else found.to_text()
    sys.stdout.write(text + "\n")
    if output is not None:
        errors.print(f"wrote {output}", highlight=False)
    return int(strict and found.worst in ("bad", "warn"))


def compare(
    before: Annotated[Path, typer.Argument(help="A report in JSON.")],
    after: Annotated[Path, typer.Argument(help="Another one, of the same level.")],
) -> int:
    """Tell what changed from one report to another: exit code 1 if there is a new fault or warning, 0 if not."""
    from faltung.report import compare as compared

    difference = compared(before, after)
    sys.stdout.write(difference.to_text() + "\n")
    return int(difference.worse)


def samples(path: Path) -> Any:
    """The samples of a file of numbers, which is never unpickled."""
    import numpy
    import torch

    try:
        return torch.from_numpy(numpy.load(path, allow_pickle=False)).float()
    except (OSError, ValueError, TypeError) as error:
        raise FileError.of(
            "faltung report", "an array of numbers in .npy", f"{path}: {error}", "use numpy.save"
        ) from None


def made(words: str) -> Any:
    """What a package of trained networks has under a name, or what a function of an importable module returns."""
    home, _, name = words.partition(":")
    if home in TRAINED:
        return trained(home, name)
    sys.path.insert(0, os.getcwd())
    try:
        function = getattr(import_module(home), name, None)
    except ImportError as error:
        raise ArgumentError.of(
            "faltung report", "a file, or module:function", f"{words!r}: {error}", "check the path"
        ) from None
    finally:
        sys.path.remove(os.getcwd())
    if not callable(function):
        raise ArgumentError.of("faltung report", f"a function of {home}", repr(name), "say module:function")
    return function()


# Packages of trained networks: the module that makes them, its function, and the arguments for trained weights.
TRAINED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "timm": ("timm", "create_model", {"pretrained": True}),
    "torchvision": ("torchvision.models", "get_model", {"weights": "DEFAULT"}),
}


def trained(home: str, name: str) -> Any:
    """A trained network by its name in timm or torchvision, in evaluation mode."""
    module, function, settings = TRAINED[home]
    try:
        make = getattr(import_module(module), function)
    except ImportError as error:
        raise MissingExtraError.of(
            "faltung report", f"the package {home} for {home}:{name}", str(error), f"run: pip install {home}"
        ) from None
    try:
        return make(name, **settings).eval()
    except Exception as error:  # a name it does not know, weights it cannot fetch: each package has its own
        said = " ".join(str(error).split()) or type(error).__name__
        raise ArgumentError.of(
            "faltung report", f"a trained network of {home}", f"{name!r}: {said}", "check the name, and the connection"
        ) from None
