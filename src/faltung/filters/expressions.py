"""Filters as small expressions, for the command line: `gaussian:sigma=4`, `box:9x5`, `motion:15,30deg`, or a file.

    expression  =  name [":" argument {"," argument}]   |   path of a file
    argument    =  [parameter "="] value
    value       =  number | number "deg" | number "rad" | number "x" number ... (one an axis) | word

Arguments without a name fill the function's parameters in order. Everything after the name is given to the filter's function, so
its docstring says what it takes.
"""

import difflib
import inspect
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.filters.filter import Filter

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
# What a flat element holds on its support and beyond it, in the algebras that have such.
ELEMENTS = {"max-plus": (0.0, -np.inf), "min-plus": (0.0, np.inf), "boolean": (True, False)}
TURNS = {"deg": math.pi / 180.0, "rad": 1.0}


def parse(text: str, ndim: int, over: str | None = None) -> np.ndarray:
    """Read an expression, or the file that it names, as a filter for data with `ndim` spatial axes.

    Files: `.npy` as it is; an image as a point-spread function, its weights divided by their sum (as it is with max-plus, min-plus
    and boolean); a sound as an impulse response within ±1.

    Shapes:
        returns (*s), or (*s, channels) from a file with one filter a channel.
    Args:
        text: the expression.   ndim: spatial axes of the data, ≥ 1.
        over: the algebra. With `max-plus`, `box` and `disk` mean flat elements: 0 on their support, -inf elsewhere (+inf with
            `min-plus`). With `boolean` they mean True on their support. `parabola` keeps its values with
            `max-plus` and `min-plus`. Default None: weights.
    Raises:
        ArgumentError: with the position that is not understood, what was expected there and the names to choose from.
        FileError: for a file that cannot be read.

    Example:
        >>> parse("box:1x3", 2, over="max-plus").tolist()
        [[0.0, 0.0, 0.0]]
    """
    from faltung import media  # only files need it

    if not text.strip():
        raise _fault(text, 0, "a filter's name or a file", "nothing", f"choose among {_names()}")
    if Path(text).suffix.lower() in media.SUFFIXES or (":" not in text and ("/" in text or Path(text).is_file())):
        return _from_file(text, ndim, over)
    name, _, rest = text.partition(":")
    family = _named(text, name)
    given = _arguments(text, family, rest, len(name) + 1)
    try:
        k = family.make(**given, ndim=ndim)
    except ArgumentError as error:
        raise ArgumentError(f"kernel {text!r}: {error}") from None
    if over not in ELEMENTS or (family.ordered and over != "boolean"):
        return k
    if not family.element:
        elements = ", ".join(f.name for f in _all() if f.element)
        raise ArgumentError.of(
            f"kernel {text!r}",
            f"a structuring element for {over}: {elements}, or a file",
            repr(name),
            "choose one of these",
        )
    inside, outside = ELEMENTS[over]
    return np.where(k > 0, inside, outside)


def _from_file(text: str, ndim: int, over: str | None) -> np.ndarray:
    from faltung import media

    given = media.read(text)
    k, who = given.array, f"kernel {text!r}"
    if given.kind == "image":
        if given.channels is not None:
            raise ArgumentError.of(
                who, "a grey image", f"{given.channels} channels", "save it as greyscale, or as .npy"
            )
        if over not in ELEMENTS:
            total = float(k.sum(dtype=np.float64))
            if total == 0:
                raise ArgumentError.of(
                    who, "an image that is not black", "values with sum 0", "save such a filter as .npy"
                )
            k = k / total
    elif given.kind == "sound":
        k = given.array / given.top if given.top else given.array
        k = k[:, 0] if k.shape[1] == 1 else k
    if k.ndim not in (ndim, ndim + 1) or (k.ndim == ndim + 1 and given.kind == "image"):
        raise ArgumentError.of(who, f"{ndim} axes for this data", f"shape {k.shape}", "reshape the filter")
    if k.size == 0:
        raise ArgumentError.of(who, "at least one value", f"shape {k.shape}", "give a filter that is not empty")
    return k


def _all() -> tuple[Filter, ...]:
    from faltung import filters  # the registry imports this file

    return filters.ALL


def _names() -> str:
    return ", ".join(f.name for f in _all())


def _named(text: str, name: str) -> Filter:
    for family in _all():
        if family.name == name:
            return family
    near = difflib.get_close_matches(name.lower(), [f.name for f in _all()], 1, 0.5)
    raise _fault(
        text, 0, f"one of {_names()}, or a file", repr(name), f"did you mean {near[0]!r}?" if near else "choose a name"
    )


def _arguments(text: str, family: Filter, rest: str, start: int) -> dict[str, Any]:
    """The parameters that the text after the colon sets."""
    parameters = {p.name: p for p in inspect.signature(family.make).parameters.values() if p.name != "ndim"}
    in_order = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    offers = f"{family.name} takes {', '.join(parameters)}"
    given: dict[str, Any] = {}
    by_name = False
    for at, word in _words(rest, start) if start <= len(text) else ():
        key, equals, value = word.partition("=")
        if equals:
            by_name, place, name = True, at + len(key) + 1, key.strip()
            if name not in parameters:
                near = difflib.get_close_matches(name, list(parameters), 1, 0.5)
                raise _fault(
                    text,
                    at,
                    f"a parameter ({offers})",
                    repr(name),
                    f"did you mean {near[0]!r}?" if near else "use one of these",
                )
        else:
            place, value = at, word
            if by_name:
                raise _fault(text, at, "name=value after a named argument", repr(word), offers)
            if len(given) >= len(in_order):
                raise _fault(text, at, f"at most {len(in_order)} arguments without a name", repr(word), offers)
            name = in_order[len(given)]
        if name in given:
            raise _fault(text, at, f"{name} once", f"{name} again", "remove one of the two")
        given[name] = _value(text, place, value.strip(), name)
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in given]
    if missing:
        example = next(e for e in family.examples)
        raise _fault(text, len(text), f"{' and '.join(missing)}", "the end", f"write for example {example!r}")
    return given


def _words(rest: str, start: int) -> list[tuple[int, str]]:
    """The arguments between commas, each with its position in the whole text."""
    found, at = [], start
    for word in rest.split(","):
        found.append((at, word))
        at += len(word) + 1
    return found


def _value(text: str, at: int, value: str, name: str) -> Any:
    if re.fullmatch(NUMBER, value):
        return _number(value)
    if turn := re.fullmatch(rf"({NUMBER})(deg|rad)", value):
        return float(turn[1]) * TURNS[turn[2]]
    if re.fullmatch(rf"{NUMBER}(?:x{NUMBER})+", value):
        return tuple(_number(part) for part in value.split("x"))
    if re.fullmatch(r"[A-Za-z][\w.]*", value):
        return value
    wanted = f"a value of {name}: a number, an angle such as 30deg, numbers such as 9x5, or a word"
    raise _fault(text, at, wanted, repr(value) if value else "nothing", "correct that argument")


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


def _fault(text: str, at: int, expected: str, came: str, remedy: str) -> ArgumentError:
    return ArgumentError.of(f"kernel {text!r}, position {at + 1}", expected, came, remedy)
