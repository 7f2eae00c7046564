"""`faltung grep`: lines that hold a word of a regular language, in linear time whatever the pattern.

Files are read in pieces of whole lines. A piece is searched at once by the language of the pattern within a line, so lines that do
not match cost one table entry a character. Bytes that are no UTF-8 are kept as they are and match no character of the pattern.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

PIECE = 1 << 22  # bytes read at once
MANY = 200  # files from which on a progress line is worth showing


@dataclass
class Wanted:
    """What to look for and what to print."""

    matcher: Any
    weigh: Any  # a function from the matching part to its weight, or None
    invert: bool
    only: bool
    count: bool
    names: bool
    quiet: bool
    numbers: bool
    text: bool
    with_name: bool


def grep(
    pattern: Annotated[str, typer.Argument(help="A regular expression in the syntax of Python's re.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="Files, folders with -r; - is the input.")
    ] = None,
    count: Annotated[bool, typer.Option("-c", "--count", help="Print how many lines match in each file.")] = False,
    number: Annotated[bool, typer.Option("-n", "--line-number", help="Print line numbers.")] = False,
    only: Annotated[bool, typer.Option("-o", "--only-matching", help="Print the matching parts, one a line.")] = False,
    invert: Annotated[bool, typer.Option("-v", "--invert-match", help="Take lines that do not match.")] = False,
    ignore_case: Annotated[
        bool, typer.Option("-i", "--ignore-case", help="Capitals and small letters are equal.")
    ] = False,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="All files below folders.")] = False,
    names: Annotated[bool, typer.Option("-l", "--files-with-matches", help="Print names of files that match.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing: only the exit code speaks.")] = False,
    whole: Annotated[bool, typer.Option("-x", "--line-regexp", help="The pattern must match the whole line.")] = False,
    with_name: Annotated[
        bool | None, typer.Option("-H/-h", help="Print file names, or do not.", show_default=False)
    ] = None,
    text: Annotated[bool, typer.Option("-a", "--text", help="Treat binary files as text.")] = False,
    weight: Annotated[
        str | None, typer.Option("--weight", help="Print the match's weight over an algebra, such as count.")
    ] = None,
) -> int:
    """Print lines in which a regular expression matches, as grep does: exit code 0 if any did, 1 if none, 2 after a mistake.

    Matches are leftmost-longest. With --weight the weight of the matching part stands before the line.
    """
    from faltung.language import PatternError

    try:
        wanted = _wanted(pattern, ignore_case, whole, weight)
    except PatternError as error:  # its caret stands in a line of its own
        print(f"faltung: {error}", file=sys.stderr)
        return 2
    given = files or ([Path(".")] if recursive else [Path("-")])
    wanted.invert, wanted.only, wanted.count, wanted.names = invert, only, count, names
    wanted.quiet, wanted.numbers, wanted.text = quiet, number, text
    wanted.with_name = with_name if with_name is not None else recursive or len(given) > 1
    any_match = failed = False
    for path in _shown(_walked(given, recursive)):
        if isinstance(path, str):
            print(f"faltung: {path}", file=sys.stderr)
            failed = True
            continue
        try:
            any_match |= _file(path, wanted)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            print(f"faltung: {path}: {(error.strerror or str(error)).lower()}", file=sys.stderr)
            failed = True
        if quiet and any_match:
            break
    sys.stdout.buffer.flush()
    return 2 if failed and not (quiet and any_match) else int(not any_match)


def _wanted(pattern: str, ignore_case: bool, whole: bool, weight: str | None) -> Wanted:
    """The language of the pattern within a line."""
    import re

    from faltung import language
    from faltung.language import charset, terms
    from faltung.language.matching import Matcher

    newline = charset.complement(((10, 10),))
    lines = {"start": "line start", "end": "line end", "end or newline": "line end"}

    def inside(node: Any, parts: tuple) -> Any:
        if node.kind == "chars":
            return terms.chars(charset.intersection(node.data, newline))
        if node.kind == "place":
            return terms.place(lines.get(node.data, node.data))
        return terms.again(node, parts)

    parsed = language.parse(pattern, re.I if ignore_case else 0)
    term = terms.rebuild(parsed.term, inside)
    if whole:
        term = terms.concat((terms.place("line start"), term, terms.place("line end")))
    weigh = None
    if weight is not None:
        # the part has left its line: ^ and $ hold at its ends, as they did there
        plan = language.Language(term, False).compile(weight)
        weigh = plan.__call__
    return Wanted(Matcher(term, False), weigh, *[False] * 8)


def _walked(given: Iterable[Path], recursive: bool) -> Iterator[Path | str]:
    """Files in order; sentences about what cannot be read."""
    for path in given:
        if str(path) == "-" or not path.is_dir():
            yield path
        elif not recursive:
            yield f"{path}: is a folder; add -r to search in it"
        else:
            for folder, inner, names in os.walk(path):
                inner.sort()
                yield from (Path(folder, name) for name in sorted(names))


def _shown(paths: Iterator[Path | str]) -> Iterator[Path | str]:
    """The same paths; on a terminal whose lines are not needed for matches, with a line that says how far it is."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from paths
        return
    from rich.console import Console

    with Console(stderr=True).status("searching") as status:
        for n, path in enumerate(paths):
            if n >= MANY and n % 50 == 0:
                status.update(f"{n} files searched, now {path}")
            yield path


def _file(path: Path, wanted: Wanted) -> bool:
    """Search one file; returns whether any line was taken."""
    name = "(standard input)" if str(path) == "-" else str(path)
    if str(path) == "-":
        return _search(sys.stdin.buffer, name, wanted)
    with open(path, "rb") as file:
        return _search(file, name, wanted)


def _search(file: BinaryIO, name: str, wanted: Wanted) -> bool:
    from faltung.language.matching import View

    out = sys.stdout.buffer
    prefix = f"{name}:".encode(errors="surrogateescape") if wanted.with_name else b""
    taken, line, binary = 0, 1, False
    for n, piece in enumerate(_pieces(file)):
        if n == 0 or not binary:
            binary = b"\0" in piece and not wanted.text
        view = View(piece.decode("utf-8", "surrogateescape"), False)
        at = 0  # `line` is the number of the line that starts there
        for start, stop, inside in _lines(view, wanted):
            taken += 1
            if wanted.quiet:
                return True
            if wanted.names:
                out.write(name.encode(errors="surrogateescape") + b"\n")
                return True
            if wanted.count:
                continue
            if binary:
                out.write(b"Binary file " + name.encode(errors="surrogateescape") + b" matches\n")
                return True
            line += view.text.count("\n", at, start)
            at = start
            head = prefix + (f"{line}:".encode() if wanted.numbers else b"")
            for part in _parts(view, start, stop, inside, wanted):
                out.write(head + part + b"\n")
        line += view.text.count("\n", at) + 1
    if wanted.count:
        out.write(prefix + f"{taken}\n".encode())
    return taken > 0


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """The file in pieces of whole lines, each without its last newline."""
    left = b""
    while block := file.read(PIECE):
        end = block.rfind(b"\n")
        if end < 0:
            left += block
            continue
        yield left + block[:end]
        left = block[end + 1 :]
    if left:
        yield left


def _lines(view: Any, wanted: Wanted) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Start and stop of every line that is to be taken, with the matches in it."""
    text, at = view.text, 0
    start, stop, inside = 0, -1, list[tuple[int, int]]()  # the line that is being collected
    for begin, end in wanted.matcher.spans(view):
        if begin <= stop:
            inside.append((begin, end))
            continue
        if stop >= 0 and not wanted.invert:
            yield start, stop, inside
        start, stop = text.rfind("\n", 0, begin) + 1, text.find("\n", end)
        stop, inside = view.length if stop < 0 else stop, [(begin, end)]
        if wanted.invert:
            yield from _between(text, at, start)
        at = stop + 1
    if wanted.invert:
        yield from _between(text, at, view.length + 1)
    elif stop >= 0:
        yield start, stop, inside


def _between(text: str, at: int, before: int) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """The lines from one place to another."""
    while at < before:
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop
        yield at, stop, []
        at = stop + 1


def _parts(view: Any, start: int, stop: int, inside: list[tuple[int, int]], wanted: Wanted) -> Iterator[bytes]:
    """What is printed of a line: the line, or with -o each match in it that is not empty."""
    shown = inside if wanted.only else inside[:1] or [(start, start)]
    for begin, end in shown:
        head = f"{wanted.weigh(view.text[begin:end])}:" if wanted.weigh is not None and inside else ""
        part = view.text[begin:end] if wanted.only else view.text[start:stop]
        if end > begin or not wanted.only:
            yield (head + part).encode("utf-8", "surrogateescape")
