"""Wisdom: measured choices, kept as a readable file, believed only where they fit this build and this machine.

`faltung tune --problems FILE` measures the methods that a plan finds close to each other and writes one line a problem. Nothing
else measures, and a call never writes.
"""

import json
from functools import lru_cache
from pathlib import Path

from faltung.kernels.native import cache_folder
from faltung.planner.machine import Machine
from faltung.problem import Problem
from faltung.version import __version__


def wisdom_path() -> Path:
    """The file of measured choices."""
    return cache_folder() / "wisdom.json"


@lru_cache(maxsize=1)
def _read() -> tuple[dict[str, str], str]:
    """The choices and a note on why they are not used, if so."""
    try:
        found = json.loads(wisdom_path().read_text())
        signature, choices = found["signature"], found["choices"]
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in choices.items()):
            raise ValueError("choices are not text")
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return {}, f"wisdom of {wisdom_path()} put aside: it cannot be read ({error})"
    if signature != __version__:
        return {}, f"wisdom of {wisdom_path()} put aside: it is of version {signature}"
    return choices, ""


def key(problem: Problem, threads: int) -> str:
    """What a choice is filed under: the problem's line and the number of threads."""
    return f"{problem.text} threads={threads}"


def best(problem: Problem, on: Machine) -> str | None:
    """The method that was measured fastest for this problem, or None."""
    choices, _ = _read()
    return choices.get(key(problem, on.threads)) if choices else None


def note() -> str:
    """Why the wisdom file is not used; empty where it is, or where there is none."""
    return _read()[1]


def record(choices: dict[str, str]) -> Path:
    """Add measured choices to the file and return its path."""
    path = wisdom_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = {**_read()[0], **choices}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"signature": __version__, "choices": merged}, indent=1, sort_keys=True))
    temporary.replace(path)
    _read.cache_clear()
    return path
