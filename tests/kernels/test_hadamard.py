"""The suites of the Hadamard and the zeta kernels bite: versions that are wrong in one respect are caught."""

import numpy as np
import pytest

from faltung.kernels.hadamard import contract as hadamard
from faltung.kernels.zeta import contract as zeta
from faltung.testing.hadamard_kernels import check_hadamard, check_zeta


class Reference:
    """The contracts in the place of a tool."""

    @staticmethod
    def hadamard(x, axis=-1, scale=1.0, out=None, threads=None):
        y = hadamard.hadamard(x, axis, scale)
        return y if out is None else _into(out, y)

    @staticmethod
    def zeta(x, axis=-1, order="subset", operation="add", out=None, threads=None):
        y = zeta.zeta(x, axis, order, operation)
        return y if out is None else _into(out, y)


def _into(out, y):
    out[...] = y
    return out


class Saturating(Reference):
    @staticmethod
    def hadamard(x, axis=-1, scale=1.0, out=None, threads=None):
        y = (
            hadamard.hadamard(x.astype(float), axis, scale)
            if x.dtype == np.int64
            else hadamard.hadamard(x, axis, scale)
        )
        y = np.clip(y, -(2.0**62), 2.0**62).astype(x.dtype) if x.dtype == np.int64 else y
        return y if out is None else _into(out, y)


class Unscaled(Reference):
    @staticmethod
    def hadamard(x, axis=-1, scale=1.0, out=None, threads=None):
        return Reference.hadamard(x, axis, 1.0, out)


class Forgetful(Reference):
    """Leaves the operand in place when asked for work in place."""

    @staticmethod
    def zeta(x, axis=-1, order="subset", operation="add", out=None, threads=None):
        return zeta.zeta(x, axis, order, operation)


class Deaf(Reference):
    """Loses NaN."""

    @staticmethod
    def zeta(x, axis=-1, order="subset", operation="add", out=None, threads=None):
        x = np.nan_to_num(x, posinf=np.inf, neginf=-np.inf) if x.dtype.kind == "f" else x
        return Reference.zeta(x, axis, order, operation, out)


def test_the_contracts_pass_their_own_suites():
    assert check_hadamard(Reference) > 100
    assert check_zeta(Reference) > 100


@pytest.mark.parametrize(
    ("check", "tool"),
    [(check_hadamard, Saturating), (check_hadamard, Unscaled), (check_zeta, Forgetful), (check_zeta, Deaf)],
)
def test_wrong_versions_are_caught(check, tool):
    with pytest.raises(AssertionError, match=r"Hadamard|zeta|NaN"):
        check(tool)
