"""The machine profile: seconds for one unit of every kind of work, measured once by `faltung tune`, shipped defaults otherwise."""

import json
import os
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from faltung.kernels.native import cache_folder
from faltung.kernels.threads import available
from faltung.version import __version__


@dataclass(frozen=True)
class Machine:
    """What the cost model knows of a machine. Costs are pure functions of it: no clock is read while planning.

    Fields:
        rates: seconds for one unit of a kind of work on one thread, `kind.dtype` or `kind`. They take no part in comparing
            machines, which stay cheap to look up: machines of other rates tell another origin.
        threads: processors that this process may use.   cache: bytes of a core's own cache.   memory: bytes of main memory.
        origin: where the rates come from, for people.
        team: whether torch's threads work for the problem at hand: handing work to them costs less than waking a pool's.
    """

    rates: dict[str, float] = field(hash=False, compare=False)
    threads: int
    cache: int
    memory: int
    origin: str
    team: bool = False

    def seconds(self, kind: str, dtype: str = "") -> float:
        """Seconds for one unit; kinds measured for one dtype only serve the others by the size of their values."""
        if self.team and kind == "thread":
            kind = "team"
        rate = self.rates.get(f"{kind}.{dtype}")
        return rate if rate is not None else self.rates[kind] * _SCALE.get(dtype, 1.0)


# Work measured in float32 only, carried over to other dtypes by bytes and, for complex numbers, by products.
_SCALE = {"float64": 2.0, "complex64": 4.0, "complex128": 8.0, "int64": 2.0, "uint64": 2.0, "bool": 0.5, "int32": 1.0}


def profile_path() -> Path:
    """The file that `faltung tune` writes."""
    return cache_folder() / "profile.json"


@lru_cache(maxsize=1)
def this_machine() -> Machine:
    """This machine: the tuned profile where it fits this version, the shipped one otherwise."""
    facts: dict[str, Any] = {"threads": available(), "memory": _memory()}
    try:
        tuned = json.loads(profile_path().read_text())
        missing = sorted(set(shipped()["rates"]) - set(tuned["rates"]))
        if tuned["faltung"] == __version__ and not missing:
            return Machine(tuned["rates"], cache=tuned["cache"], origin=f"measured on {tuned['taken']}", **facts)
        lacks = f"has no rate {missing[0]}" if tuned["faltung"] == __version__ else f"is of version {tuned['faltung']}"
        origin = f"shipped defaults (the profile of {profile_path()} {lacks}; run faltung tune)"
    except FileNotFoundError:
        origin = "shipped defaults (run faltung tune to measure this machine)"
    except (OSError, ValueError, KeyError, TypeError) as error:
        origin = f"shipped defaults ({profile_path()} cannot be read: {error}; run faltung tune)"
    default = shipped()
    return Machine(default["rates"], cache=default["cache"], origin=origin, **facts)


def shipped() -> dict:
    """The profile that comes with the package."""
    return json.loads(files("faltung.planner").joinpath("profile.json").read_text())


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 << 30
