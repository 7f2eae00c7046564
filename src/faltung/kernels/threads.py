"""Threads for kernels: torch's team where there is one, else one pool for the process, made when first needed and after a fork.

Kernels release the interpreter lock, so plain threads suffice. The caller works too and never waits for a free worker: any
number of threads may call at once, and a call from inside a worker runs there, so that nothing can deadlock or oversubscribe.
"""

import contextlib
import contextvars
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from faltung.kernels import dealer, team
from faltung.kernels.dealer import Own

KEPT = 1 << 26
LINE = 64  # bytes of the cache that are read together

_here = threading.local()
_start = threading.Lock()
_jobs: queue.SimpleQueue | None = None
_workers = 0


def available() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    task: Callable[[int, int], None], count: int, threads: int, grain: int = 1, *, multiplies: bool = False
) -> None:
    """Call `task(start, stop)` over consecutive pieces of range(count) that cover it once, on up to `threads` threads.

    The pieces depend on count, threads and grain only; a task must write what no other piece writes, so the result does not
    depend on the order. The first exception of a piece is raised here after all pieces have ended.

    Args:
        grain: the smallest piece worth handing to another thread.
        multiplies: whether the task calls NumPy's matrix products, `@` or `dot`. Their library has threads of its own and no
            knowledge of the team's: it warns on the team that it may hang. Such tasks run on the pool.
    """
    pieces = _pieces(count, threads, grain)
    if pieces <= 1:
        task(0, count)
        return
    batch = _Batch(task, count, pieces, min(threads, pieces))
    began = time.perf_counter()
    if not multiplies and team.together(batch.join):
        team.waited(began, batch.done_at, batch.left_at or batch.done_at)  # a caller without a seat looked for nothing
        batch.wait()
    else:
        _by_pool(batch)


def share(
    kernel: Callable[..., None], arguments: Sequence[int], count: int, threads: int, grain: int = 1, own: int = 0
) -> None:
    """As `spread`, of `kernel(*arguments, start, stop)`: a team deals the pieces without the interpreter, in two microseconds.

    Args:
        kernel: from `native.load`.
        arguments: addresses and whole numbers; `Own(offset)` means that byte of `own` bytes of the thread's own working memory.
    """
    pieces = _pieces(count, threads, grain)
    entry = getattr(kernel, "entry", None)
    if pieces > 1 and entry and (team_size := team.asked()):
        seats = min(threads, pieces)
        purposes = ["scratch", *(f"scratch {seat}" for seat in range(1, seats))]
        held = [_memory(p, own) if own <= KEPT else lined((own,), np.dtype(np.uint8)) for p in purposes] if own else []
        memory = [array.__array_interface__["data"][0] for array in held] or [0] * seats
        start, spare = entry
        began = time.perf_counter()
        numbers = dealer.block(start, spare, arguments, memory, pieces, count)
        team.enter(dealer.dealer(len(arguments), team.number()), numbers.buffer_info()[0], team_size)
        team.waited(began, *dealer.times(numbers))
        return

    def task(first: int, last: int) -> None:
        start = scratch(own) if own else 0
        kernel(*(start + a if type(a) is Own else a for a in arguments), first, last)

    if pieces <= 1:
        task(0, count)
    elif entry:
        _by_pool(_Batch(task, count, pieces, min(threads, pieces)))
    else:
        spread(task, count, threads, grain)


def _pieces(count: int, threads: int, grain: int) -> int:
    if threads < 2 or getattr(_here, "worker", False):
        return 1
    return min(4 * threads, -(-count // max(grain, 1)))


def scratch(size: int) -> int:
    """Address of at least `size` bytes of this thread's own working memory, on a cache line; valid until the next call.

    Kept between calls, because fresh pages cost more than the work on them. Beyond KEPT bytes it is given back with the next
    smaller request.
    """
    return _memory("scratch", size).__array_interface__["data"][0]


def kept(purpose: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array for passing values on within one call: this thread's memory for that purpose, overwritten by its next request.

    It starts on a cache line. More than KEPT bytes are not kept.
    """
    count = math.prod(shape) * dtype.itemsize
    if count > KEPT:
        return lined(shape, dtype)
    return _memory(purpose, count)[:count].view(dtype).reshape(shape)


def lined(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`numpy.empty` from the start of a cache line: vectors as long as a line are read from one line each."""
    count = math.prod(shape) * dtype.itemsize
    whole = np.empty(count + LINE, np.uint8)
    start = -whole.__array_interface__["data"][0] % LINE
    return whole[start : start + count].view(dtype).reshape(shape)


def _memory(purpose: str, size: int) -> np.ndarray:
    try:
        have = _here.memory.get(purpose)
    except AttributeError:
        _here.memory, have = {}, None
    if have is None or have.size < size or (have.size > KEPT and have.size > 2 * size):
        have = _here.memory[purpose] = None
        have = _here.memory[purpose] = lined((size,), np.dtype(np.uint8))
    return have


class _Batch:
    """Pieces of one call; whoever is free takes the next."""

    def __init__(self, task: Callable[[int, int], None], count: int, pieces: int, seats: int) -> None:
        self.task, self.count, self.pieces, self.seats = task, count, pieces, seats
        self.context = contextvars.copy_context()  # NumPy's error state of the caller, for one
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.taken, self.done, self.done_at, self.left_at = 0, 0, 0.0, 0.0
        self.busy: set[int] = set()  # threads that have a piece
        self.caller = threading.get_ident()
        self.error: BaseException | None = None

    def work(self) -> None:
        """Take pieces until there are none. A call within a piece runs there: the other threads are at work."""
        before = getattr(_here, "worker", False)
        try:
            _here.worker = True
            self._take()
        finally:  # an interrupt comes between two pieces too
            _here.worker = before

    def _take(self) -> None:
        me = threading.get_ident()
        while True:
            with self.lock:
                piece = self.taken
                if piece >= self.pieces:
                    return
                self.taken += 1
                self.busy.add(me)
            try:
                start, stop = piece * self.count // self.pieces, (piece + 1) * self.count // self.pieces
                self.context.copy().run(self.task, start, stop)
            except BaseException as error:  # handed to the caller's thread, which raises it
                self.error = self.error or error
            with self.lock:
                self.busy.discard(me)
                self.done += 1
                if self.done == self.pieces:
                    self.done_at = time.perf_counter()
                    self.ended.set()

    def join(self) -> None:
        """As `work`, for a thread of a team that may be larger than the number of threads wanted."""
        with self.lock:
            self.seats -= 1
            seated = self.seats >= 0
        if seated:
            self.work()
            if threading.get_ident() == self.caller:
                self.left_at = time.perf_counter()

    def wait(self) -> None:
        self.ended.wait()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Give out no more pieces and wait for those at work: they write to memory that the caller is about to let go."""
        with self.lock:
            self.taken = self.pieces
        while self.busy - {self.caller}:
            with contextlib.suppress(KeyboardInterrupt):  # one is being raised
                time.sleep(1e-4)


def _by_pool(batch: _Batch) -> None:
    jobs = _pool(batch.seats - 1)
    try:
        for _ in range(batch.seats - 1):
            jobs.put(batch)
        batch.work()
        batch.wait()
    except BaseException:
        batch.stop()
        raise


def _pool(workers: int) -> queue.SimpleQueue:
    global _jobs, _workers
    if _jobs is None or _workers < workers:
        with _start:
            if _jobs is None:
                _jobs, _workers = queue.SimpleQueue(), 0
            while _workers < workers:
                threading.Thread(target=_serve, args=(_jobs,), name=f"faltung-{_workers}", daemon=True).start()
                _workers += 1
    return _jobs


def _serve(jobs: queue.SimpleQueue) -> None:
    _here.worker = True
    while True:
        jobs.get().work()


def _after_fork() -> None:
    """A child has none of its parent's threads: forget them, the next call starts its own."""
    global _jobs, _workers, _start, _here
    _jobs, _workers, _start, _here = None, 0, threading.Lock(), threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
