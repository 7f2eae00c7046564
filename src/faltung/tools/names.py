"""Which modules of a model a pattern names."""

import difflib
import fnmatch
from collections.abc import Iterable

from faltung.errors import ArgumentError


def named(who: str, pattern: str, names: Iterable[str], others: Iterable[str] = ()) -> list[str]:
    """The names that the glob pattern fits, in their order.

    Args:
        who: speaks in the error.   names: to choose from.   others: names that exist but cannot be meant, for the error.

    Raises:
        ArgumentError: it fits none; the message says which names are near.
    """
    known, rest = list(names), list(others)
    found = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
    if found:
        return found
    wrong = [name for name in rest if fnmatch.fnmatchcase(name, pattern)]
    if wrong:
        came, said = f"{pattern!r}, which names {', '.join(map(repr, wrong[:4]))}", "that is no such layer"
    else:
        came, said = repr(pattern), "nothing is called so"
    near = difflib.get_close_matches(pattern, known, 4, 0.4) or known[:4]
    remedy = (
        f"{said}; near it: {', '.join(map(repr, near))}" if near else f"{said}; there is no convolution in the model"
    )
    raise ArgumentError.of(who, "the name of a convolution, or a pattern of names", came, remedy)
