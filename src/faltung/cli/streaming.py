"""`faltung convolve --stream`: sounds block by block, arrays slab by slab, so that a file may be larger than memory."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import faltung
from faltung import media
from faltung.cli.apply import Request, filter_for
from faltung.engine.slabs import convolve_slabs
from faltung.errors import ArgumentError, FileError
from faltung.media import Media, npy
from faltung.media.sound_blocks import PIPE, Reader, Writer
from faltung.media.sounds import INTEGERS, SUFFIXES
from faltung.problem import Spec
from faltung.request import problem_of

AT_ONCE = 1 << 16  # samples read from a file at once


def stream_file(source: Path, target: Path, request: Request, floats: bool, console: Any) -> list[str]:
    """Filter one sound or array into `target`; memory does not grow with its length. Returns remarks for the user.

    Raises:
        ArgumentError: a picture, a stride or boundary that a sound in blocks cannot have.   FileError: as without streaming.
    """
    if source.suffix.lower() == ".npy":
        return _array(source, target, request, console)
    if source != PIPE and source.suffix.lower() not in SUFFIXES:
        raise ArgumentError.of(
            "--stream", "a sound, a .npy array, or - for a sound from a pipe", source.name, "leave --stream out"
        )
    return _sound(source, target, request, floats, console)


def _sound(source: Path, target: Path, request: Request, floats: bool, console: Any) -> list[str]:
    options = request.options("sound")
    if options["boundary"] not in ("constant", 0, 0.0) or options["stride"] != 1 or request.over not in (None, "real"):
        raise ArgumentError.of(
            "--stream", "a sound with nothing before and behind it, every sample kept, real numbers",
            "another --boundary, --stride or --over", "leave --stream out",
        )  # fmt: skip
    if target != PIPE and target.suffix.lower() not in SUFFIXES:
        raise FileError.of(str(target), f"a sound among {' '.join(SUFFIXES)}, or -", repr(target.suffix), "choose one")
    reader = Reader(source)
    given = reader.media(np.zeros((1, reader.channels), reader.kind))
    k, pattern = filter_for(given, request)
    if request.correlate:
        k = k[::-1]
    channels = reader.channels if k.ndim == 1 else k.shape[-1]
    # As many results as the mode keeps: some are dropped before the first, some behind the last.
    facts = Spec((2 * len(k),), "float64"), Spec((len(k),), "float64")
    ((lo, hi),) = problem_of(not request.correlate, *facts, mode=options["mode"]).pads
    before, behind = len(k) - 1 - lo, len(k) - 1 - hi
    s = faltung.stream(np.asarray(k, np.float64), _star(pattern), policy=request.policy)
    subtype = ("DOUBLE" if reader.subtype == "DOUBLE" else "FLOAT") if floats else None
    outside = total = 0
    with contextlib.ExitStack() as open_:
        part = target if target == PIPE else open_.enter_context(media.whole(target))
        writer = Writer(part, "WAV" if target == PIPE else target.suffix[1:].upper(), reader, channels, subtype)
        open_.callback(writer.close)
        blocks = _spread(reader, channels)
        shown = _progress(blocks, reader.frames, source.name, console, open_)
        for y in _between(s.run(shown), before, behind):
            values, cut = _samples(given, y, writer.subtype)
            writer.write(values)
            outside, total = outside + cut, total + y.size
    if not total:
        raise ArgumentError.of("convolve", "a filter that fits into the sound", f"{len(k)} taps", "use --mode same")
    if outside:
        share = f"{outside / total:.1%} of the samples were louder than the file can hold and were cut"
        return [f"{source.name}: {share}; try --scale 0.5"]
    return []


def _star(pattern: str) -> str:
    return pattern if pattern != "*s, *s c -> *s c" else "*s c, *s c -> *s c"


def _spread(reader: Reader, channels: int) -> Iterator[np.ndarray]:
    """Blocks as floats; one channel is spread over those of the filter."""
    for block in reader.blocks(AT_ONCE):
        x = block.astype(np.float64)
        yield np.repeat(x, channels, axis=1) if x.shape[1] < channels else x


def _between(pieces: Iterator[np.ndarray], before: int, behind: int) -> Iterator[np.ndarray]:
    """The pieces without what is to be dropped at either end."""
    held: list[np.ndarray] = []
    for piece in pieces:
        dropped = min(before, len(piece))
        before -= dropped
        held.append(piece[dropped:])
        while len(held) > 1 and sum(map(len, held[1:])) >= behind:
            yield held.pop(0)
    rest = np.concatenate(held) if held else np.empty((0, 1))
    yield rest[: max(0, len(rest) - behind)]


def _samples(given: Media, y: np.ndarray, subtype: str) -> tuple[np.ndarray, int]:
    """Results as the writer takes them, and how many had to be cut."""
    top = given.top or 1.0
    if subtype not in INTEGERS:
        return (y if given.array.dtype.kind == "f" else y / top), 0
    if given.array.dtype.kind == "f":  # floats into integers
        y = y * INTEGERS[subtype][2]
        top = INTEGERS[subtype][2]
    cut = int(np.sum((y < -top - 0.5) | (y > top - 0.5)))
    return replace(given, channels=y.shape[1]).of(y).array, cut


def _array(source: Path, target: Path, request: Request, console: Any) -> list[str]:
    if target.suffix.lower() != ".npy":
        raise FileError.of(str(target), "a .npy file for an array", repr(target.suffix or target.name), "name it so")
    if not source.is_file():
        raise FileError.of(str(source), "a file", "none", "check the path")
    with media.reading(source):
        x = npy.Rows(source)
    k, pattern = filter_for(Media(np.empty((1,) * len(x.shape), x.dtype), "array"), request)
    if x.dtype == np.float32 and k.dtype == np.float64:
        k = k.astype(np.float32)
    options = request.options("array")
    slabs = convolve_slabs(x, k, pattern, flip=not request.correlate, **options)
    with contextlib.ExitStack() as open_:
        part = open_.enter_context(media.whole(target))
        shown = _progress(iter(slabs), len(slabs), source.name, console, open_, whole=True)
        npy.write(part, slabs.shape, slabs.dtype, shown)
    return []


def _progress(
    pieces: Iterator[np.ndarray], total: int | None, name: str, console: Any, open_: contextlib.ExitStack, whole: bool = False
) -> Iterator[np.ndarray]:  # fmt: skip
    """The same pieces with a bar on a terminal; a pipe whose length nobody knows has one that only moves."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    bar = open_.enter_context(Progress(*columns, console=console, disable=not console.is_terminal, transient=True))
    task = bar.add_task(name, total=total)
    for piece in pieces:
        yield piece
        bar.advance(task, 1 if whole else len(piece))
