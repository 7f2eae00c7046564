"""Convolution of values with components, rewritten as one of their components with two channels more.

    y_p = Σ over i, q of  table[i, p, q] · (x_i ∗ k_q)

Either the filter becomes a matrix of filters, K[p, i] = Σ_q table[i, p, q] k_q, and x_i are channels; or, where the algebra has a
bilinear algorithm of R < n² products, y = out · ((left · x) ∗ (right · k)), channel by channel. The planner weighs both.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from faltung import algebras, arrays
from faltung.algebras import Algebra, Components
from faltung.errors import ArgumentError, DtypeError
from faltung.pattern import PLAIN, Pattern
from faltung.problem import Spec


def solve(
    solver: Callable, planner: Callable, values: Components, x: Any, k: Any, pattern: str | None, options: dict[str, Any]
) -> Any:  # fmt: skip
    """x ∗ k for arrays whose last axes are values; `solver` and `planner` are the door's `convolve` (or `correlate`) and `plan`."""
    form, by_products = _form(planner, values, x, k, pattern, options)
    y = solver(*form, over=values.base, **options)
    if by_products:
        assert values.out is not None
        y = _mixed(y, values.out, "nr,r...->...n")
    return y.reshape(*y.shape[:-1], *values.value)


def explain(planner: Callable, values: Components, x: Any, k: Any, pattern: str | None, options: dict[str, Any]) -> Any:
    """The plan of the convolution of components that `solve` would carry out."""
    given = [np.empty(a.shape, a.dtype) if isinstance(a, Spec) else a for a in (x, k)]
    form, _ = _form(planner, values, given[0], given[1], pattern, options)
    return planner(*form, over=values.base, **options)


def _form(
    planner: Callable, values: Components, x: Any, k: Any, pattern: str | None, options: dict[str, Any]
) -> tuple[tuple[Any, Any, str], bool]:  # fmt: skip
    """What to convolve instead (signal, filter, pattern), and whether that is the algorithm's products."""
    x, k = arrays.as_array(x, "convolve"), arrays.as_array(k, "convolve")
    _checked(values, x, k, options)
    x, k = (a.reshape(*a.shape[: a.ndim - len(values.value)], values.n) for a in (x, k))
    layout, over = Pattern.parse(PLAIN if pattern is None else pattern), _over(values, x, k)
    made = _dense(values, x, k, layout, over)
    if values.left is None or over.exact or not over.ring:
        return made, False
    other = _products(values, x, k, layout)
    return (other, True) if _cheaper(values, planner, made, other, options) else (made, False)


def _checked(values: Components, x: Any, k: Any, options: dict[str, Any]) -> None:
    axes = len(values.value)
    for name, a in (("x", x), ("k", k)):
        if tuple(a.shape[a.ndim - axes :]) != values.value or a.ndim <= axes:
            raise ArgumentError.of(
                f"over={values.text!r}", f"{name} whose last axes {values.value} hold a value", f"shape {tuple(a.shape)}",
                "move the components to the end",
            )  # fmt: skip
    boundary = options.get("boundary", "constant")
    each = [boundary] if isinstance(boundary, str) or not isinstance(boundary, (list, tuple)) else boundary
    if not all(isinstance(b, str) for b in each):
        raise ArgumentError.of(
            f"over={values.text!r}", "a boundary by its word", repr(boundary), "pad x with such values"
        )


def _dense(values: Components, x: Any, k: Any, layout: Pattern, over: Algebra) -> tuple[Any, Any, str]:
    """The component in as a channel that is summed over, the component out as one more: the filter becomes a matrix of filters."""
    if over.ring:
        matrix = _mixed(k, values.table.transpose(1, 0, 2).reshape(-1, values.n), "rn,...n->...r")
    else:
        matrix = _chosen(values, k, over)
    matrix = matrix.reshape(*k.shape[:-1], values.n, values.n)
    text = f"{' '.join(layout.x)} in_, {' '.join(layout.k)} out_ in_ -> {' '.join(layout.y)} out_"
    return x, matrix, text


def _products(values: Components, x: Any, k: Any, layout: Pattern) -> tuple[Any, Any, str]:
    """The algorithm's products, each a convolution of its own, as a shared axis in front."""
    assert values.left is not None
    assert values.right is not None
    text = f"each_ {' '.join(layout.x)}, each_ {' '.join(layout.k)} -> each_ {' '.join(layout.y)}"
    return _mixed(x, values.left, "rn,...n->r..."), _mixed(k, values.right, "rn,...n->r..."), text


def _over(values: Components, x: Any, k: Any) -> Algebra:
    names = [arrays.dtype_name(a) for a in (x, k)]
    over = algebras.named(values.base) if values.base is not None else algebras.natural(*names)
    if over is None or over.compute(*names) is None:
        raise DtypeError.of(
            f"over={values.text!r}",
            "components that an algebra computes with",
            " and ".join(names),
            "cast them, or give base=",
        )
    whole = bool((values.table == np.rint(values.table.real)).all())
    if over.exact and not whole:
        raise ArgumentError.of(
            f"over={values.text!r}", "a table of whole numbers for exact components", "others", "use floats"
        )
    return over


def _mixed(a: Any, rows: np.ndarray, how: str) -> Any:
    """An array's components multiplied by rows (R, n) of numbers; integers in 64 bits, where no product of theirs wraps."""
    if arrays.is_torch(a):
        torch = arrays.import_torch("convolve")
        wide = a if a.is_floating_point() or a.is_complex() else a.to(torch.int64)
        return torch.einsum(how, torch.from_numpy(np.ascontiguousarray(rows)).to(wide), wide)
    if a.dtype.kind in "iub":
        a = a if a.dtype == np.uint64 else a.astype(np.int64)
        return np.einsum(how, np.rint(rows.real).astype(a.dtype), a)
    if a.dtype == object:
        return np.einsum(how, np.frompyfunc(int, 1, 1)(np.rint(rows.real)), a)
    return np.einsum(how, rows.astype(np.result_type(a.dtype, np.float32)), a)


def _chosen(values: Components, k: Any, over: Algebra) -> Any:
    """The matrix of filters in a semiring: each entry one component or the algebra's zero."""
    table = values.table
    if not ((table == 0) | (table == 1)).all() or (table.sum(axis=2) > 1).any():
        raise ArgumentError.of(
            f"over={values.text!r}", "a table of zeros and ones with one unit a product, because nothing is subtracted or doubled",
            "another table", "use a ring, or matrices and truncated polynomials",
        )  # fmt: skip
    by_place = table.transpose(1, 0, 2)
    some, which = by_place.any(axis=2).ravel(), by_place.argmax(axis=2).ravel()
    if arrays.is_torch(k):
        torch = arrays.import_torch("convolve")
        taken = k[..., torch.from_numpy(which)]
        return torch.where(torch.from_numpy(some), taken, torch.full_like(taken, float(over.zero(np.dtype("float64")))))
    return np.where(some, k[..., which], over.zero(k.dtype)).astype(k.dtype)


def _cheaper(values: Components, planner: Callable, dense: tuple, products: tuple, options: dict[str, Any]) -> bool:
    """Whether the algorithm's fewer convolutions are worth its mixes, within the tolerance."""
    assert values.left is not None
    assert values.right is not None
    assert values.out is not None
    first, second = (planner(*form, over=values.base, **options) for form in (dense, products))
    growth = np.prod([np.abs(rows).sum(axis=1).max() for rows in (values.left, values.right, values.out)])
    mixed = sum(
        int(np.prod(shape)) for shape in (second.problem.x_shape, second.problem.k_shape, second.problem.out_shape)
    )
    mixes = mixed * 16 * second.machine.seconds("copy")
    return second.cost + mixes < first.cost and second.error * float(growth) <= second.tolerance
