"""Kernels on the threads of torch's own loops: who works, what is kept, and where the pool takes over."""

import ctypes
import functools
import itertools
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from faltung.kernels import dealer, native, team, threads

if not hasattr(os, "fork"):
    pytest.skip("the team is looked for on Linux alone", allow_module_level=True)


@pytest.fixture(autouse=True)
def four_threads(monkeypatch):
    """A team of four that no other work on the machine sends to rest."""
    monkeypatch.setattr(team, "LATE", float("inf"))
    waited()
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def waited(behind: float = 0.0, idle: float = 0.0, length: float = 1e-3) -> None:
    """A call of that length ends now, so long after the end of all work and after the caller's own."""
    now = time.perf_counter()
    team.waited(now - length, now - behind, now - idle)


def rest() -> int:
    """Calls until the team is asked again."""
    calls = 0
    while not team.together(lambda: None):
        calls += 1
    return calls


def test_a_team_that_comes_late_rests_for_longer_and_longer(monkeypatch):
    monkeypatch.setattr(team, "LATE", 1e-2)
    lengths = []
    for _ in range(12):
        waited(1.0, 1.0, 2.0)
        lengths.append(rest())
    assert lengths[:3] == [8, 16, 32]
    assert lengths[-2:] == [4096, 4096]
    waited(1e-4, 1e-4)
    assert rest() == 0
    waited(1.0, 1.0, 2.0)
    assert rest() == 8
    waited()


def test_a_team_that_lies_still_in_the_middle_of_its_work_is_late_too(monkeypatch):
    monkeypatch.setattr(team, "LATE", 1e-2)
    waited(0.0, 0.6, 1.0)  # nothing to do for most of the call, while a piece was not done
    assert rest() == 8
    waited(0.0, 0.4, 1.0)  # the last piece of a few
    assert rest() == 0
    waited(0.0, 5e-3, 6e-3)  # not worth a rest
    assert rest() == 0


def workers(count: int, asked: int) -> set[int]:
    """The threads that took pieces; the first wait for each other and all are slow, so that as many as may will come."""
    seen, gate = set(), threading.Barrier(asked)

    def task(first: int, last: int) -> None:
        seen.add(threading.get_ident())
        if first < asked * (last - first):
            gate.wait(20)
        time.sleep(0.02)

    threads.spread(task, count, asked)
    return seen


def test_there_is_a_team_and_it_is_asked():
    torch.zeros(1)
    assert team.together(lambda: None)
    assert team._parallel


@pytest.mark.parametrize("asked", [2, 3, 4])
def test_no_more_threads_work_than_were_asked_for(asked):
    assert len(workers(4 * asked, asked)) == asked


def test_every_index_is_covered_once():
    for count in (1, 2, 7, 64, 1001):
        hits = np.zeros(count, int)

        def task(first: int, last: int, hits: np.ndarray = hits) -> None:
            hits[first:last] += 1

        threads.spread(task, count, 4)
        assert (hits == 1).all()


def test_an_exception_reaches_the_caller_and_the_team_goes_on():
    def task(first: int, last: int) -> None:
        if first == 0:
            raise ValueError("of a piece")

    for _ in range(3):
        with pytest.raises(ValueError, match="of a piece"):
            threads.spread(task, 8, 4)
    test_every_index_is_covered_once()


def test_an_interrupt_between_two_pieces_reaches_the_caller():
    """Python may raise anywhere in the main thread, also where no piece is at work: then none may be waited for."""

    def interrupted() -> None:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        team.together(interrupted)
    assert team.together(lambda: None)


def test_a_caller_without_a_seat_finds_a_good_team_in_time(monkeypatch):
    def together(work) -> bool:
        """Two others have taken both seats before the caller comes."""
        for other in [threading.Thread(target=work) for _ in range(2)]:
            other.start()
            other.join()
        work()
        return True

    monkeypatch.setattr(team, "LATE", 20.0)
    monkeypatch.setattr(team, "together", together)
    threads.spread(lambda first, last: None, 8, 2)
    assert team._left == 0


class Interrupted:
    """A lock at which Python raises in the main thread, the first time after `when` is true."""

    def __init__(self, when) -> None:
        self.lock, self.when = threading.Lock(), when

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread() and self.when():
            self.when = lambda: False
            raise KeyboardInterrupt
        self.lock.acquire()

    def __exit__(self, *error) -> None:
        self.lock.release()


def test_a_thread_that_was_interrupted_has_helpers_again():
    batch, calls = threads._Batch(lambda first, last: None, 8, 8, 2), itertools.count()
    batch.lock = Interrupted(lambda: next(calls) == 4)
    with pytest.raises(KeyboardInterrupt):
        batch.join()
    assert 0 < batch.done < 8
    assert len(workers(8, 2)) == 2


def test_an_interrupted_caller_waits_for_pieces_at_work_and_leaves_the_others():
    began, ended, starts = threading.Event(), threading.Event(), []

    def task(first: int, last: int) -> None:
        starts.append(first)
        if threading.current_thread() is threading.main_thread():
            began.wait(20)
        else:
            began.set()
            time.sleep(0.3)
            ended.set()

    batch = threads._Batch(task, 100, 100, 2)
    batch.lock = Interrupted(began.is_set)
    with pytest.raises(KeyboardInterrupt):
        threads._by_pool(batch)
    assert ended.is_set()
    assert len(starts) in (1, 2)  # the caller may be interrupted before its own piece begins
    assert not batch.busy - {threading.get_ident()}


def test_a_call_within_a_piece_runs_there():
    inside = []

    def task(first: int, last: int) -> None:
        own = threading.get_ident()
        threads.spread(lambda a, b: inside.append(threading.get_ident() == own), 8, 4)

    threads.spread(task, 8, 4)
    assert inside
    assert all(inside)


def test_threads_keep_their_memory_from_call_to_call():
    def held() -> dict[int, object]:
        """The memory itself by thread: freed memory would come again at the same address."""
        found, gate = {}, threading.Barrier(4)

        def task(first: int, last: int) -> None:
            if threading.get_ident() not in found:
                threads.scratch(1 << 16)
                found[threading.get_ident()] = threads._here.memory["scratch"]
                gate.wait(20)

        threads.spread(task, 4, 4)
        return found

    first, second = held(), held()
    assert len(first) == 4 == len({id(memory) for memory in first.values()})
    assert first.keys() == second.keys()
    assert all(second[thread] is memory for thread, memory in first.items())


def test_other_threads_and_single_threads_use_the_pool():
    answers = []
    thread = threading.Thread(target=lambda: answers.append(team.together(lambda: None)))
    thread.start()
    thread.join()
    torch.set_num_threads(1)
    answers.append(team.together(lambda: None))
    assert answers == [False, False]
    assert len(workers(8, 2)) == 2


_CHILD = """
import os, sys, numpy as np, torch
from faltung.kernels import dealer, native, team, threads
torch.set_num_threads(2)
team.LATE = float("inf")  # a team at rest would not be asked by the child either
def total():
    hits = np.zeros(64, int)
    def task(a, b): hits[a:b] += 1
    threads.spread(task, 64, 2)
    return int(hits.sum())
assert total() == 64 and team._parallel
pid = os.fork()
if pid == 0:
    os._exit(0 if total() == 64 and not team.together(lambda: None) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or (total() != 64))
"""


def test_a_forked_child_works_without_the_team():
    assert subprocess.run([sys.executable, "-c", _CHILD], timeout=30, check=False).returncode == 0


def test_without_torch_there_is_no_team():
    code = "from faltung.kernels import team; import sys; sys.exit(team.together(print) or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


_PRODUCTS = """
import torch  # first: the library of the products looks for the team's when it is loaded
import numpy as np, sys
from faltung import Policy, Problem
from faltung.gram import kernel_sum
from faltung.kernels import team, threads
from faltung.planner import plan_problem
from faltung.testing.problems import operands
team.LATE = float("inf")
torch.set_num_threads(2)
assert team.together(lambda: None)
if sys.argv[1] == "control":
    a = np.ones((300, 300))
    threads.spread(lambda first, last: a @ a, 4, 2)
elif sys.argv[1] == "sums":
    threads.available = lambda: 2
    points = np.random.default_rng(1).normal(size=(3000, 16))
    kernel_sum(points, points, "gaussian", method="tiles")
else:
    kind = sys.argv[1]
    line = f'correlate "b c *s, o c *s -> b o *s" x=1x160x1500:{kind} k=160x160x5:{kind} out={kind} pad=2:2 boundary=constant'
    p = plan_problem(Problem.parse(line), Policy(only="segments", threads=2))
    p(**operands(p.problem, 0, "normal"))
"""


@functools.cache
def said(what: str) -> str:
    """What a process that multiplies matrices on two threads says on its error stream."""
    words = [sys.executable, "-c", _PRODUCTS, what]
    given = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    return subprocess.run(words, timeout=300, check=True, capture_output=True, text=True, env=given).stderr


@pytest.mark.parametrize("what", ["float32", "float64", "sums"])
def test_matrix_products_do_not_run_on_the_team(what):
    if "OpenMP" not in said("control"):
        pytest.skip("this NumPy's products do not mind the team")
    assert said(what) == ""


@pytest.mark.parametrize("multiplies", [False, True])
def test_tasks_that_multiply_have_the_pool_and_no_more_threads_within(multiplies):
    names, inside = set(), []

    def task(first: int, last: int) -> None:
        names.add(threading.current_thread().name)
        own = threading.get_ident()
        threads.spread(lambda a, b: inside.append(threading.get_ident() == own), 8, 4)
        time.sleep(0.01)

    threads.spread(task, 16, 4, multiplies=multiplies)
    assert any(name.startswith("faltung-") for name in names) == multiplies
    assert inside
    assert all(inside)


def log_of_pieces() -> tuple:
    """A kernel that notes the pieces in the order in which they come, with where its own memory lies."""

    def note(count, log, own, first, last):
        log[3 * count[0]], log[3 * count[0] + 1], log[3 * count[0] + 2] = own, first, last
        count[0] += 1

    return note, "p:int64,p:int64,i,i,i"


def marks() -> tuple:
    """A kernel that counts how often it comes to each item, and puts down who came."""

    def mark(hits, who, own, first, last):
        for i in range(first, last):
            hits[i] += 1
            who[i] = own

    return mark, "p:int64,p:int64,i,i,i"


@pytest.mark.parametrize("seat", [0, 1, 2, 3, 4])
def test_a_thread_takes_its_own_share_first_and_then_all_others(seat):
    kernel = native.load("test-log", log_of_pieces)
    count, log = np.zeros(1, np.int64), np.zeros((40, 3), np.int64)
    given = native.address(count), native.address(log), dealer.Own(24)
    number = ctypes.CFUNCTYPE(ctypes.c_int32)(lambda: seat)
    numbers = dealer.block(*kernel.entry, given, [1000, 2000, 3000], 10, 37)
    before = time.perf_counter()
    deal = dealer.dealer(len(given), ctypes.cast(number, ctypes.c_void_p).value)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(deal)(numbers.buffer_info()[0])
    done, left = dealer.times(numbers)
    if seat > 2:  # no seat for it
        assert count[0] == 0 == done == left
        return
    assert before < done < time.perf_counter()
    assert (done <= left < time.perf_counter()) if seat == 0 else left == 0
    shares = [range(3), range(3, 6), range(6, 10)]
    order = [piece for later in range(3) for piece in shares[(seat + later) % 3]]
    assert log[: count[0]].tolist() == [[1024 + 1000 * seat, p * 37 // 10, (p + 1) * 37 // 10] for p in order]


@pytest.mark.parametrize("asked", [2, 3, 4, 7])
@pytest.mark.parametrize("count", [2, 5, 64, 1001])
def test_shared_kernels_come_to_every_item_once(asked, count):
    kernel = native.load("test-marks", marks)
    for _ in range(20):
        hits, who = np.zeros(count, np.int64), np.zeros(count, np.int64)
        threads.share(kernel, (native.address(hits), native.address(who), dealer.Own(0)), count, asked, own=4096)
        assert (hits == 1).all()
        own = [memory.__array_interface__["data"][0] for memory in threads._here.memory.values()]
        assert set(who) <= set(own)


def test_every_seat_has_memory_of_its_own(monkeypatch):
    seen = []
    block = dealer.block
    monkeypatch.setattr(dealer, "block", lambda *given: seen.append(given[3]) or block(*given))
    kernel = native.load("test-marks", marks)
    hits, who = np.zeros(640, np.int64), np.zeros(640, np.int64)
    for own in (100, 4096, 1 << 20):
        threads.share(kernel, (native.address(hits), native.address(who), dealer.Own(0)), 640, 4, own=own)
        places = sorted(seen[-1])
        assert len(places) == 4
        assert all(after - before >= own for before, after in itertools.pairwise(places))
        assert not any(place % 64 for place in places)


def test_large_memory_of_the_seats_is_not_kept():
    kernel, own = native.load("test-marks", marks), threads.KEPT + 4096
    hits, who = np.zeros(640, np.int64), np.zeros(640, np.int64)
    threads.share(kernel, (native.address(hits), native.address(who), dealer.Own(0)), 640, 4, own=own)
    assert (hits == 1).all()
    assert 0 not in who
    assert max((memory.size for memory in threads._here.memory.values()), default=0) <= threads.KEPT


def test_shared_kernels_run_without_a_team_too():
    kernel = native.load("test-marks", marks)

    def run(asked: int) -> None:
        hits, who = np.zeros(640, np.int64), np.zeros(640, np.int64)
        threads.share(kernel, (native.address(hits), native.address(who), dealer.Own(8)), 640, asked, own=4096)
        answers.append((hits == 1).all() and len(set(who)) <= asked and 0 not in who)

    answers: list[bool] = []
    thread = threading.Thread(target=run, args=(3,))
    thread.start()
    thread.join()
    torch.set_num_threads(1)
    run(3)
    run(1)
    assert answers == [True] * 3


def test_a_kernel_of_broken_numbers_is_not_dealt():
    def scaled(x, by, first, last):
        for i in range(first, last):
            x[i] *= by

    kernel = native.load("test-scaled", lambda: (scaled, "p:float64,d,i,i"))
    assert not hasattr(kernel, "entry")
    x = np.ones(100)
    threads.share(kernel, (native.address(x), 2.5), 100, 4)
    assert (x == 2.5).all()
