"""Many threads and forked workers at once: right answers, no crash, no deadlock. Every wait has an end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from faltung import Policy, Problem, convolve, plan
from faltung.kernels import threads
from faltung.planner import plan_problem
from faltung.planner.choose import planned_on
from faltung.testing.problems import draw, operands

LIMIT = 60  # seconds after which a wait is a deadlock
# One of each way of computing, large enough that work is spread over threads.
LINES = (
    ('convolve "*s, *s -> *s" x=300x310:float32 k=5x5:float32 out=float32 pad=2:2,2:2 boundary=edge,wrap', "direct"),
    (
        'convolve "*s, *s -> *s" x=200x210:float64 k=31x31:float64 out=float64 pad=15:15,15:15 boundary=constant,constant',
        "fft",
    ),
    ('convolve "*s, *s -> *s" x=40000:float32 k=257:float32 out=float32 pad=128:128 boundary=reflect', "overlap"),
    ('convolve "*s, *s -> *s" x=300x310:float32 k=9x9:float32 out=float32 pad=4:4,4:4 boundary=edge,edge', "separable"),
    ('convolve "*s, *s -> *s" x=300x310:float32 k=9x9:float32 out=float32 pad=4:4,4:4 boundary=edge,edge', "running"),
    (
        'correlate "b c *s, o c *s -> b o *s" x=2x9x30x30:float32 k=10x9x3x3:float32 out=float32 pad=1:1,1:1 boundary=wrap,wrap',
        "indirect",
    ),
    (
        'correlate "b c *s, o c *s -> b o *s" x=2x9x30x30:float32 k=10x9x3x3:float32 out=float32 '
        "pad=1:1,1:1 boundary=edge,reflect",
        "winograd",
    ),
    (
        'correlate "b c *s, o c *s -> b o *s" x=2x9x30x30:float32 k=10x9x1x1:float32 out=float32 pad=0:0,0:0 boundary=wrap,wrap',
        "pointwise",
    ),
    (
        'correlate "b c *s, o c *s -> b o *s" x=2x9x30x30:float32 k=10x9x3x3:float32 out=float32 '
        "pad=1:1,1:1 boundary=constant,constant unknown=x",
        "direct",
    ),
    (
        'convolve "*s, *s -> *s" x=300x310:uint8 k=5x5:uint8 out=int32 pad=2:2,2:2 boundary=edge,wrap algebra=integer',
        "direct",
    ),
    (
        'convolve "*s, *s -> *s" x=300x310:float32 k=5x5:float32 out=float32 pad=2:2,2:2 boundary=edge,wrap algebra=max-plus',
        "direct",
    ),
)
# Methods whose threads are all the library's own. SciPy's transforms of whole signals (fft) keep locks and threads of theirs,
# which a fork in the middle of another thread's call breaks, whoever calls them.
OWN = ("direct", "separable", "running", "overlap", "indirect", "winograd", "pointwise")
KINDS = {"separable": "rank one", "running": "box"}


def jobs():
    """Plans with operands and the answer of a quiet process with one thread of its own."""
    found = []
    for seed, (line, method) in enumerate(LINES):
        p = plan_problem(Problem.parse(line), Policy(only=method))
        given = operands(p.problem, seed, KINDS.get(method, "normal"))
        found.append((p, given, p(**given)))
    return found


def right(rounds=3, offset=0):
    """Compute every job some times over and say which were wrong; runs in threads and in workers alike."""
    wrong = []
    table = jobs()
    for turn in range(rounds):
        for i in range(len(table)):
            p, given, wanted = table[(i + offset + turn) % len(table)]
            if not np.array_equal(p(**given), wanted):
                wrong.append(p.problem.text)
    return wrong


def test_eight_threads_at_once():
    table, wrong, start = jobs(), [], threading.Barrier(8)

    def work(number):
        start.wait(LIMIT)
        for turn in range(4):
            for i in range(len(table)):
                p, given, wanted = table[(i + number + turn) % len(table)]
                if not np.array_equal(p(**given), wanted):
                    wrong.append(p.problem.text)
        return number

    with ThreadPoolExecutor(8) as pool:
        assert [f.result(LIMIT) for f in [pool.submit(work, n) for n in range(8)]] == list(range(8))
    assert wrong == []


def test_eight_threads_plan_and_compute_for_the_first_time_at_once():
    """Planning, the door's memory and the kernels' tables are filled by whoever comes first."""
    planned_on.cache_clear()
    random, start = np.random.default_rng(0), threading.Barrier(8)
    x, k = random.standard_normal((120, 130)), random.standard_normal((7, 7))

    def work(number):
        start.wait(LIMIT)
        return [convolve(x[: 100 + size], k, mode="same") for size in range(20)]

    with ThreadPoolExecutor(8) as pool:
        results = [f.result(LIMIT) for f in [pool.submit(work, n) for n in range(8)]]
    for size in range(20):
        assert all(np.array_equal(r[size], results[0][size]) for r in results)


def test_eight_threads_compile_one_kernel_at_once(tmp_path):
    code = """
import threading, numpy as np, faltung
from concurrent.futures import ThreadPoolExecutor
start = threading.Barrier(8)
def work(number):
    start.wait(60)
    return faltung.convolve(np.arange(100.0), np.array([1.0, 2.0]), policy=faltung.Policy(only="direct"))
with ThreadPoolExecutor(8) as pool:
    results = list(pool.map(work, range(8)))
assert all(np.array_equal(r, np.convolve(np.arange(100.0), [1.0, 2.0])) for r in results)
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FALTUNG_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert len(list(tmp_path.glob("*.bin"))) == 1


def test_one_plan_serves_many_threads():
    random = np.random.default_rng(1)
    k = random.standard_normal((5, 5))
    p = plan(np.ones((200, 200)), k, mode="same")
    ready = p.prepare(k)
    signals = [random.standard_normal((200, 200)) for _ in range(16)]
    wanted = [p(x, k) for x in signals]
    with ThreadPoolExecutor(8) as pool:
        for came, right_one in zip(pool.map(ready, signals * 3, timeout=LIMIT), wanted * 3, strict=True):
            assert np.array_equal(came, right_one)


def test_calls_from_inside_workers_of_the_pool_do_not_wait_for_each_other():
    table = jobs()
    came = [None] * 16

    def task(first, last):
        for i in range(first, last):
            p, given, _ = table[i % len(table)]
            came[i] = p(**given)

    done = threading.Thread(target=threads.spread, args=(task, 16, 8), daemon=True)
    done.start()
    done.join(LIMIT)
    assert not done.is_alive()
    assert all(np.array_equal(y, table[i % len(table)][2]) for i, y in enumerate(came))


def test_an_error_in_one_thread_leaves_the_others_alone():
    p, given, wanted = jobs()[0]

    def work(number):
        if number % 2:
            with pytest.raises(ValueError, match="make a plan for this shape"):
                p(given["x"][1:], given["k"])
            return True
        return np.array_equal(p(**given), wanted)

    with ThreadPoolExecutor(8) as pool:
        assert all(f.result(LIMIT) for f in [pool.submit(work, n) for n in range(32)])


# -- processes --------------------------------------------------------------------------------------------------------------

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
# Forking a process with threads is what is tested here, Python's warning about it included.
forking = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def reap(child):
    """The child's exit status; a child that does not end is ended, and that is a failure."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "deadlock"


def fork(work):
    child = os.fork()
    if child == 0:  # no return from here: the test run belongs to the parent
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return child


@posix
@forking
def test_a_fork_after_threads_were_used():
    table = jobs()
    assert all(np.array_equal(p(**given), wanted) for p, given, wanted in table)
    children = [
        fork(lambda: all(np.array_equal(p(**given), wanted) for p, given, wanted in table for _ in range(3)))
        for _ in range(4)
    ]
    assert right(1) == []
    assert [reap(child) for child in children] == [0] * 4


@posix
@forking
def test_forks_while_eight_threads_compute():
    table = [job for job, (_, method) in zip(jobs(), LINES, strict=True) if method in OWN]
    stop, wrong = threading.Event(), []

    def work(number):
        while not stop.is_set():
            p, given, wanted = table[number % len(table)]
            if not np.array_equal(p(**given), wanted):
                wrong.append(p.problem.text)

    busy = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(8)]
    for thread in busy:
        thread.start()
    try:
        children = [
            fork(lambda: all(np.array_equal(p(**given), wanted) for p, given, wanted in table)) for _ in range(4)
        ]
        assert [reap(child) for child in children] == [0] * 4
    finally:
        stop.set()
        for thread in busy:
            thread.join(LIMIT)
    assert wrong == []


@posix
@forking
def test_a_fork_of_a_fork():
    p, given, wanted = jobs()[0]

    def child():
        inner = fork(lambda: np.array_equal(p(**given), wanted))
        return np.array_equal(p(**given), wanted) and reap(inner) == 0

    assert reap(fork(child)) == 0


@forking
@pytest.mark.parametrize(
    "way", [way for way in ("fork", "spawn", "forkserver") if way in multiprocessing.get_all_start_methods()]
)
def test_worker_processes(way):
    assert right(1) == []  # the parent has used its threads before
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(way)) as pool:
        results = [pool.submit(right, 2, n) for n in range(4)]
        assert [r.result(LIMIT) for r in results] == [[]] * 4


def test_plans_are_the_same_in_another_process():
    texts = [draw(seed).text for seed in range(20)]
    code = (
        "import sys\nfrom faltung import Problem\nfrom faltung.planner import plan_problem\n"
        "for line in sys.stdin:\n"
        "    p = plan_problem(Problem.parse(line.strip()))\n"
        "    print(p.method, p.cost, p.error, p.scratch)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(texts), capture_output=True, text=True, timeout=LIMIT
    )
    assert run.returncode == 0, run.stderr
    here = [plan_problem(Problem.parse(text)) for text in texts]
    assert run.stdout.splitlines() == [f"{p.method} {p.cost} {p.error} {p.scratch}" for p in here]
