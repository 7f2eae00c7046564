"""The threads that torch's own loops run on, for kernels that take turns with these loops.

Behind every parallel loop of torch its threads wait for the next one without sleeping, for some milliseconds and on all processors.
A kernel that wakes threads of its own meanwhile shares the processors with them and takes up to twice as long. So it asks them.

A team returns only when all of its threads have come back. On a machine with other work to do one of them may not even have begun
when the others are done, or may lie still in the middle of its work: then the team is left alone for a while.
"""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

LATE = 5e-4  # seconds that a caller may be kept behind the end of the work
REST = 8, 4096  # calls without the team behind a late one, at first and at most

_here = threading.local()
_left, _rest = 0, REST[0]
_live: dict[int, tuple[Callable[[], None], list[BaseException]]] = {}
_names = count(1)
_parallel: Any = None
_number = 0
_forked = False


def waited(began: float, done: float, left: float) -> None:
    """Tell when a call on the team began, when all its work was done, and when the caller found no more to do: it is back now.

    A team is late if it keeps its caller for long behind the end of the work, or for most of the call before: with pieces for
    everybody the others are done soon after the caller, unless a busy machine does not let them go on. It is left alone then, for
    twice as many calls as the last time if there was no good one between.
    """
    global _left, _rest
    now = time.perf_counter()
    late = now - done > LATE or now - left > max(LATE, (now - began) / 2)
    _left, _rest = (_rest, min(2 * _rest, REST[1])) if late else (0, REST[0])


def asked() -> int:
    """How many threads the team has, if it works for the caller; else 0. A team that rests has rested for one more call."""
    global _left
    torch = sys.modules.get("torch")
    if torch is None or _forked or threading.get_ident() != threading.main_thread().ident:
        return 0
    if _left:
        _left -= 1
        return 0
    # Always all threads: a team of another size is sent home and hired again.
    return threads if (_parallel or _found(torch)) and (threads := torch.get_num_threads()) > 1 else 0


def number() -> int:
    """Address of the function that tells a thread its number in the team; the caller of `enter` has number 0."""
    return _number


def enter(function: int, argument: int, threads: int) -> None:
    """Call the machine code at `function` with one argument on all threads of the team, without the interpreter's lock."""
    _parallel(function, argument, threads, 0)


def together(work: Callable[[], None]) -> bool:
    """Call `work()` once on every thread of torch's team, the caller's among them; False where there is none, or it rests.

    Asked from the main thread only, whose team lives as long as the process: what a thread keeps for kernels is kept with it.
    A child process has none of its parent's threads and is given no team. What `work` raises is raised here, when all are back.
    """
    if not (threads := asked()):
        return False
    _here.stays = True
    name = next(_names)
    errors: list[BaseException] = []
    _live[name] = work, errors
    try:
        enter(ctypes.cast(_enter, ctypes.c_void_p).value or 0, name, threads)
    finally:
        del _live[name]
    if errors:
        raise errors[0]
    return True


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _enter(name: int) -> None:
    work, errors = _live[name]
    try:
        if not getattr(_here, "stays", False):
            # Python would forget the thread with everything that it keeps as soon as this call ends: it is told of another one.
            ctypes.pythonapi.PyGILState_Ensure()
            _here.stays = True
        work()
    except BaseException as error:  # an interrupt, say: nothing can be raised through the library's loop
        errors.append(error)


def _found(torch: Any) -> Any:
    """The function that runs a loop on the team, of the library that torch itself has loaded; False where there is none."""
    global _parallel, _number
    if not hasattr(torch, "get_num_threads"):  # still being imported
        return False
    _parallel = False
    home = os.path.dirname(torch.__file__)
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split(None, 5)[5].strip() for line in maps if home in line}
    except OSError:
        return False
    for path in sorted(paths):
        if os.path.basename(path).startswith(("libgomp", "libiomp", "libomp")):
            library = ctypes.CDLL(path)
            _parallel = library.GOMP_parallel
            _number = ctypes.cast(library.omp_get_thread_num, ctypes.c_void_p).value or 0
            _parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            _parallel.restype = None
    return _parallel


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
