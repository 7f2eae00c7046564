"""From files to files: every target is checked before the first long computation, every file is written whole or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faltung import media
from faltung.cli.apply import Request, convolved, filter_for
from faltung.errors import ArgumentError, FaltungError, FileError

LONG = 8 << 20  # bytes of input from which on a progress bar is worth its lines


def convolve_files(inputs: Sequence[Path], output: Path, request: Request, floats: bool, console: Any) -> list[str]:
    """Filter every input into `output`: a file, or a folder for several inputs; returns remarks for the user.

    Raises:
        FaltungError: at the first file that fails; it says how many were finished, and these are whole.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    targets, made = _targets(inputs, output)
    notes: list[str] = []
    done = 0
    shown = console.is_terminal and (len(inputs) > 1 or any(p.is_file() and p.stat().st_size > LONG for p in inputs))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, disable=not shown, transient=True) as bar:
            task = bar.add_task("convolving", total=len(inputs))
            for source, target in zip(inputs, targets, strict=True):
                bar.update(task, description=source.name)
                notes += _one(source, target, request, floats)
                done += 1
                bar.advance(task)
    except FaltungError as error:
        if len(inputs) > 1:
            raise type(error)(f"{source}: {error} ({done} of {len(inputs)} files were written)") from error
        raise
    finally:
        if made and not done:
            output.rmdir()
    return notes


def _one(source: Path, target: Path, request: Request, floats: bool) -> list[str]:
    given = media.read(source)
    filter_for(given, request)  # a wrong filter is named before a wrong target
    raw = floats or target.suffix.lower() == ".npy"
    media.check(target, given.of(given.array[:1], "float32") if raw and given.kind != "array" else given)
    result, outside = convolved(given, request, raw)
    if not result.array.size:
        raise ArgumentError.of(
            "convolve", "a filter that fits into the data", f"shape {given.array.shape}", "use --mode same"
        )
    media.write(target, result)
    if outside:
        return [
            f"{source.name}: {outside:.1%} of the samples were louder than the file can hold and were cut; try --scale 0.5"
        ]
    return []


def _targets(inputs: Sequence[Path], output: Path) -> tuple[list[Path], bool]:
    """Where every input goes, and whether the folder was made now."""
    if len(inputs) == 1 and not output.is_dir():
        if not output.suffix:
            raise FileError.of(
                str(output), "a file with a suffix, or a folder that is there", "neither", "name it FILE.png"
            )
        return [output], False
    targets = [output / path.name for path in inputs]
    if len(set(targets)) < len(targets):
        raise ArgumentError.of("convolve", "inputs with different names", "two of one name", "convolve them one by one")
    if output.exists() and not output.is_dir():
        raise FileError.of(str(output), "a folder for several inputs", "a file", "choose another name")
    if output.is_dir():
        return targets, False
    try:
        output.mkdir()
    except OSError as error:
        raise FileError.of(
            str(output), "a folder that can be made", (error.strerror or "").lower(), "choose another"
        ) from None
    return targets, True
