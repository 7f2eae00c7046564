"""Binomial filters: rows of Pascal's triangle, the integers' way to a Gaussian."""

import math
from collections.abc import Sequence

import numpy as np

from faltung.errors import ArgumentError
from faltung.filters.filter import Filter, outer, per_axis, whole


def binomial(order: int | Sequence[int], *, ndim: int | None = None) -> np.ndarray:
    """Binomial weights with sum 1, close to a Gaussian of variance order / 4.

        k[p] = ∏ over axes  C(order, p) / 2^order,      p = 0..order

    Shapes:
        returns float64, `order + 1` long on every axis; an even order has a middle tap.
    Args:
        order: how often the filter (½, ½) is applied, 1 to 1000; one for all axes or one an axis.
        ndim: number of axes. Default: as many as `order` has entries, else 2.
    Raises:
        ArgumentError: for an order that is not a whole number from 1 to 1000.
    Error:
        exact up to order 56, where all taps are dyadic fractions that float64 holds.
    Source: R. A. Haddad and A. N. Akansu, A class of fast Gaussian binomial filters (1991).

    Example:
        >>> (binomial(4, ndim=1) * 16).tolist()
        [1.0, 4.0, 6.0, 4.0, 1.0]
    """
    return outer([_row(whole("binomial", "order", n, 1)) for n in per_axis("binomial", "order", order, ndim)])


def _row(order: int) -> np.ndarray:
    if order > 1000:  # beyond, 2**order leaves float64
        raise ArgumentError.of(
            "binomial", "an order of at most 1000", repr(order), "use a gaussian of sigma = sqrt(order) / 2"
        )
    return np.array([math.comb(order, p) / 2**order for p in range(order + 1)])


FILTER = Filter(
    name="binomial",
    summary="smooths with the weights of Pascal's triangle",
    source="Haddad and Akansu 1991",
    make=binomial,
    examples=("binomial:4", "binomial:order=2"),
)
