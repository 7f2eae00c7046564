"""Kernels on the threads of torch's own loops: who works, what is kept, and where the pool takes over."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from faltung.kernels import team, threads

if not hasattr(os, "fork"):
    pytest.skip("the team is looked for on Linux alone", allow_module_level=True)


@pytest.fixture(autouse=True)
def four_threads(monkeypatch):
    """A team of four that no other work on the machine sends to rest."""
    monkeypatch.setattr(team, "LATE", float("inf"))
    team.waited(0)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_a_team_that_comes_late_rests_for_longer_and_longer(monkeypatch):
    monkeypatch.setattr(team, "LATE", 1e-3)

    def rest() -> int:
        calls = 0
        while not team.together(lambda: None):
            calls += 1
        return calls

    lengths = []
    for _ in range(12):
        team.waited(1.0)
        lengths.append(rest())
    assert lengths[:3] == [8, 16, 32]
    assert lengths[-2:] == [4096, 4096]
    team.waited(1e-4)
    assert rest() == 0
    team.waited(1.0)
    assert rest() == 8
    team.waited(0.0)


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
from faltung.kernels import team, threads
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
