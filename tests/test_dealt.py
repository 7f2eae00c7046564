"""Kernels as they are shipped, on torch's team: machine code deals their pieces, and the bits are those of one thread.

Workers of tests that run side by side have one thread, so these set two of their own.
"""

import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from faltung import Policy, Problem, fuse  # noqa: E402 - only where there is torch
from faltung.kernels import dealer, team  # noqa: E402
from faltung.nn import MBConvBlock  # noqa: E402
from faltung.planner import plan_problem  # noqa: E402
from faltung.testing.problems import operands  # noqa: E402

if not hasattr(os, "fork"):
    pytest.skip("the team is looked for on Linux alone", allow_module_level=True)

LAYER = 'correlate "b c *s, o c *s -> b o *s" x=4x32x40x40:float32 k=32x32x{k}:float32 out=float32 pad={p} boundary=wrap,edge'
IMAGE = 'convolve "*s, *s -> *s" x=600x610:float32 k={k}:float32 out=float32 pad={p} boundary=edge,wrap'
LINE = 'correlate "b c *s, o c *s -> b o *s" x=4x8x4096:float32 k=8x8x4096:float32 out=float32 pad=4095:0 boundary=constant'
CASES = {
    "negacyclic": (LINE, "normal"),
    "log-sums": (IMAGE.format(k="5x5", p="2:2,2:2") + " algebra=log", "normal"),
    "winograd": (LAYER.format(k="3x3", p="1:1,1:1"), "normal"),
    "indirect": (LAYER.format(k="3x3", p="1:1,1:1"), "normal"),
    "pointwise": (LAYER.format(k="1x1", p="0:0,0:0"), "normal"),
    "overlap": (IMAGE.format(k="31x31", p="15:15,15:15"), "normal"),
    "separable": (IMAGE.format(k="9x9", p="4:4,4:4"), "rank one"),
    "passes": (IMAGE.format(k="9x9", p="4:4,4:4"), "rank one"),
    "direct": (IMAGE.format(k="5x5", p="2:2,2:2"), "normal"),
    "blocks": (IMAGE.format(k="5x5", p="2:2,2:2"), "normal"),
    "window": (IMAGE.format(k="9x9", p="4:4,4:4") + " algebra=max-plus", "box"),
}


@pytest.fixture
def dealt(monkeypatch):
    """Pieces of every call that machine code dealt; a team of two that no other work on the machine sends to rest."""
    pieces, block = [], dealer.block
    monkeypatch.setattr(dealer, "block", lambda *given: pieces.append(given[4]) or block(*given))
    monkeypatch.setattr(team, "LATE", float("inf"))
    monkeypatch.setattr(team, "_left", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield pieces
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", CASES)
def test_dealt_pieces_give_the_bits_of_one_thread(method, dealt):
    problem, filters = Problem.parse(CASES[method][0]), CASES[method][1]
    one, two = (plan_problem(problem, Policy(only=method, threads=n)) for n in (1, 2))
    given, others = operands(problem, 3, filters), operands(problem, 4, filters)
    wanted = one(**given)
    assert not dealt
    for _ in range(3):
        one(**others)  # memory that nobody writes must not hold the result by chance
        found = two(**given)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
    assert min(dealt) > 1


def test_dealt_bands_of_a_block_give_the_bits_of_one_thread(dealt, monkeypatch):
    torch.manual_seed(0)
    narrow, wide = (MBConvBlock(2, 16, norm=False, policy=Policy(threads=n)) for n in (1, 2))
    wide.load_state_dict(narrow.state_dict())
    x = torch.randn(2, 16, 60, 50)
    with torch.no_grad():
        wanted = fuse.block(narrow)(x)
        assert not dealt
        monkeypatch.setattr(fuse, "available", lambda: 2)
        assert torch.equal(fuse.block(wide)(x), wanted)
    assert min(dealt) > 1
