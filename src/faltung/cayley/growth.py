"""Growth of Cayley and Schreier graphs: how many states there are at every distance, by the storage that pays."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from faltung.cayley.generators import Generators, permutations
from faltung.cayley.storages import ALL, MOST, Layer, Limits, Storage, Thirds, most_states, way
from faltung.errors import ArgumentError, MemoryBudgetError, RefusedError
from faltung.kernels.threads import available

FOREVER = 10**9


@dataclass(frozen=True)
class Candidate:
    """One storage for one search: its estimates, or why it refuses."""

    storage: Storage
    refusal: str | None
    seconds: float
    memory: int


@dataclass(frozen=True)
class GrowthPlan:
    """Which storage a search uses, and why; print it."""

    generators: Generators
    limits: Limits
    storage: Storage
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        states = most_states(self.generators, self.limits)
        head = f"growth of {self.generators!r}, {states:.3g} states at most, {self.limits.memory / 1e9:.3g} GB"
        lines = [head, f"{'storage':<14}{'verdict':<11}{'memory':>11}{'time':>11}  why"]
        for c in self.candidates:
            if c.refusal:
                lines.append(f"{c.storage.name:<14}{'refuses':<11}{'':>22}  {c.refusal}")
                continue
            verdict = "chosen" if c.storage is self.storage else "slower"
            verdict = "too large" if verdict == "slower" and c.memory > self.limits.memory else verdict
            lines.append(
                f"{c.storage.name:<14}{verdict:<11}{_bytes(c.memory):>11}{_time(c.seconds):>11}  {c.storage.summary}"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Growth:
    """Layer sizes of a graph from its start.

    Fields: layers, number of states at distance 0, 1, ...; last_layer, up to 1000 states of the last one, one a row; complete,
    whether the search ended because no state was left, not at max_layers; plan, how it was found.
    """

    layers: tuple[int, ...]
    last_layer: np.ndarray = field(repr=False)
    complete: bool
    plan: GrowthPlan = field(repr=False)
    table: np.ndarray | None = field(default=None, repr=False)

    @property
    def order(self) -> int:
        """How many states were met: the order of the group, or the length of the start's orbit, once complete."""
        return sum(self.layers)

    @property
    def diameter(self) -> int:
        """The largest distance met; of a group's graph the diameter, once complete."""
        return len(self.layers) - 1

    def path(self, state: Any) -> list[int]:
        """A shortest word, as numbers of generators, that leads from the start to a permutation; needs storage="thirds".

        Raises:
            ArgumentError: a search that kept no distances, or a permutation that it did not meet.
        """
        g = self.plan.generators
        if self.table is None:
            raise ArgumentError.of(
                "path",
                "a search that keeps distances",
                f'storage="{self.plan.storage.name}"',
                'search with storage="thirds"',
            )
        a = np.asarray(state, np.int64)
        if a.shape != (g.size,) or not np.array_equal(np.sort(a), np.arange(g.size)):
            raise ArgumentError.of("path", f"a permutation of {g.size} places", repr(state), "correct it")
        found = way(g, self.table, a)
        if not found and not np.array_equal(a, np.arange(g.size)):
            raise ArgumentError.of(
                "path", "a permutation that the search met", repr(state), "search without max_layers"
            )
        return found


def growth(
    generators: Generators | Any,
    start: Any = None,
    *,
    max_layers: int | None = None,
    storage: str | Storage | None = None,
    memory: int | None = None,
    threads: int | None = None,
    progress: bool | Callable[[int, int, float], None] = False,
) -> Growth:
    """How many states lie at every distance from the start: layers of the boolean powers of the generating set.

    Formula: `A₀ = {start}`, `A_{r+1} = (A_r · S) \\ (A_r ∪ A_{r−1})` where S = S⁻¹, else without all earlier layers.

    Args:
        generators: from `cayley.generator_set("lrx(7)")`, `cayley.permutations`, `cayley.matrices`, or rows of permutations.
        start: a state, or a coloured word such as "00111", whose graph is that of cosets; the neutral element by default.
        max_layers: how many layers after the start at most; all by default.
        storage: "closed form", "bits", "thirds" or "sorted"; the fastest that fits `memory` by default.
        memory: bytes, half of the machine's by default.   threads: as many as processors by default.
        progress: True prints each layer; a function is called with layer, size and seconds since the start.

    Returns:
        Growth, with layers, last_layer, diameter, order and plan.

    Raises:
        ArgumentError: generators, a start, a storage or a number that mean nothing.
        RefusedError: the storage asked for cannot keep these states.
        MemoryBudgetError: no storage fits, or a layer did not while searching.

    Error: none: states are compared in full, whatever their number.
    Cost: one neighbour a state and generator.
    Source: Chervov et al., CayleyPy Growth (2025), for the families; layers modulo 3 and the planner are ours.

    Example:
        >>> growth([[1, 2, 3, 0], [3, 0, 1, 2], [1, 0, 2, 3]]).layers
        (1, 3, 5, 6, 5, 3, 1)
    """
    plan = plan_growth(generators, start, max_layers=max_layers, storage=storage, memory=memory, threads=threads)
    g, limits, tell = plan.generators, plan.limits, _teller(progress)
    table: np.ndarray | None = None
    if isinstance(plan.storage, Thirds):
        table = plan.storage.table(g)
        layers: Iterable[Layer] = plan.storage.tabled(g, limits, table)
    else:
        layers = plan.storage.search(g, limits)
    sizes: list[int] = []
    complete, begun = True, time.perf_counter()
    for layer in layers:
        sizes.append(layer.size)
        tell(len(sizes) - 1, layer.size, time.perf_counter() - begun)
        last = layer
        if len(sizes) > limits.max_layers:
            complete = sum(sizes) == most_states(g, Limits(limits.memory, limits.threads, FOREVER))
            break
    return Growth(tuple(sizes), last.states(MOST), complete, plan, table)


def plan_growth(
    generators: Generators | Any,
    start: Any = None,
    *,
    max_layers: int | None = None,
    storage: str | Storage | None = None,
    memory: int | None = None,
    threads: int | None = None,
) -> GrowthPlan:
    """Which storage `growth` would use, with the costs and refusals of all; print it. Arguments as there."""
    g = generators if isinstance(generators, Generators) else permutations(generators)
    g = g if start is None else g.starting(start)
    if max_layers is not None and max_layers < 0:
        raise ArgumentError.of("growth", "max_layers from 0 on", repr(max_layers), "leave it out for all layers")
    memory = _half_of_memory() if memory is None else int(memory)
    limits = Limits(memory, threads or available(), FOREVER if max_layers is None else max_layers)
    candidates = tuple(
        Candidate(s, reason, *((0.0, 0) if reason else (s.seconds(g, limits), s.memory(g, limits))))
        for s in ALL
        for reason in (s.refuses(g),)
    )
    if isinstance(storage, Storage):
        chosen = storage
    elif storage is not None:
        chosen = next((s for s in ALL if s.name == storage), None)  # type: ignore[assignment]
        if chosen is None:
            names = ", ".join(repr(s.name) for s in ALL)
            raise ArgumentError.of("growth", f"a storage among {names}", repr(storage), "choose one")
    else:
        able = [c for c in candidates if not c.refusal]
        # Sorted states may fit after all: nobody knows the largest layer before the search, which watches its memory itself.
        fitting = [c for c in able if c.memory <= memory] or [c for c in able if c.storage.name == "sorted"]
        chosen = min(fitting, key=lambda c: c.seconds).storage
    if reason := chosen.refuses(g):
        raise RefusedError.of("growth", f"what storage {chosen.name!r} can keep", g.text, f"it {reason}")
    if storage is not None and chosen.name in ("bits", "thirds") and chosen.memory(g, limits) > memory:
        raise MemoryBudgetError.of(
            "growth", f"a storage that fits {memory} bytes", f"{chosen.memory(g, limits)} bytes for {chosen.name!r}",
            "give more memory or choose another",
        )  # fmt: skip
    return GrowthPlan(g, limits, chosen, candidates)


def _teller(progress: bool | Callable[[int, int, float], None]) -> Callable[[int, int, float], None]:
    if callable(progress):
        return progress
    if progress:
        return lambda layer, size, seconds: print(f"layer {layer}: {size} states, {seconds:.1f} s", flush=True)
    return lambda layer, size, seconds: None


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _bytes(count: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
