"""The suites of the kernels bite: versions that are wrong in one respect are caught."""

import numpy as np
import pytest

from faltung.kernels.cayley import contract as states
from faltung.kernels.ranks import contract as ranks
from faltung.testing.cayley_kernels import check_ranks, check_states


class States:
    """The contract in the place of a tool."""

    moved = staticmethod(states.moved)
    multiplied = staticmethod(states.multiplied)
    united = staticmethod(states.united)

    @staticmethod
    def fresh(records, known, used_bits=64):
        return states.fresh(records, known)


class Trusting(States):
    """Takes a key for the state."""

    @staticmethod
    def fresh(records, known, used_bits=64):
        found = states.fresh(records, known)
        return found[np.unique(found[:, 0], return_index=True)[1]]


class Repeating(States):
    @staticmethod
    def united(a, b):
        return np.sort(np.concatenate([a, b]), axis=0)


class Wrapping(States):
    """Multiplies in 32 bits."""

    @staticmethod
    def multiplied(records, generators, rows, modulus, bits, key_bits=64):
        d = generators.shape[1]
        a = states.unpacked(records, rows * d, bits).reshape(-1, rows, d).astype(np.uint32)
        out = np.concatenate([(a @ g.astype(np.uint32)) % np.uint32(modulus) for g in generators])
        return states.packed(out.reshape(-1, rows * d).astype(np.int64), bits, key_bits)


class Ranks:
    """The contract in the place of a tool."""

    rank = staticmethod(ranks.rank)
    unrank = staticmethod(ranks.unrank)

    @staticmethod
    def painted(frontier, n, generators, sets=None):
        return ranks.painted(frontier, n, generators)

    @staticmethod
    def deepened(table, n, generators, depth, upwards=False, threads=None, most=0):
        after = ranks.deepened(table, n, generators, depth)
        places = 2 * np.arange(32, dtype=np.uint64)
        changed = np.flatnonzero(((table[:, None] ^ after[:, None]) >> places) & np.uint64(3))
        table[:] = after
        return len(changed), changed[:most].astype(np.uint64)


class Inverted(Ranks):
    """Applies the inverse of each generator."""

    @staticmethod
    def painted(frontier, n, generators, sets=None):
        return ranks.painted(frontier, n, np.argsort(generators, axis=1))


class Deep(Ranks):
    """Writes the depth itself, not modulo 3."""

    @staticmethod
    def deepened(table, n, generators, depth, upwards=False, threads=None, most=0):
        return Ranks.deepened(table, n, generators, min(depth, 1), upwards, threads, most)


def test_the_contracts_pass():
    assert check_states(States) >= 18
    assert check_ranks(Ranks) >= 18


@pytest.mark.parametrize("wrong", [Trusting, Repeating, Wrapping])
def test_wrong_sets_are_caught(wrong):
    with pytest.raises(AssertionError):
        check_states(wrong)


@pytest.mark.parametrize("wrong", [Inverted, Deep])
def test_wrong_ranks_are_caught(wrong):
    with pytest.raises(AssertionError):
        check_ranks(wrong)
