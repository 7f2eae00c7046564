"""Draws problems on finite sets of indices, and holds a domain against the laws that it declares."""

from random import Random

import numpy as np

from faltung import algebras, domains
from faltung.domains import FiniteDomain
from faltung.problem import Problem, Spec
from faltung.request import problem_of
from faltung.testing.problems import PATTERNS, _dtypes, _shape

SIZES = {"dyadic": (1, 2, 4, 8, 16, 32), "or": (1, 2, 4, 8, 16), "and": (1, 2, 4, 8, 16), "subsets": (1, 2, 4, 8, 16)}
NAMES = tuple(name for name, d in domains.BY_NAME.items() if isinstance(d, FiniteDomain))
GROUPS = ("symmetric(1)", "symmetric(3)", "symmetric(4)", "dihedral(1)", "dihedral(5)", "cyclic(7)")
ALGEBRAS = (*algebras.BY_NAME, "modular(7)", "modular(4000000007)")


def size_of(domain: FiniteDomain, random: Random) -> int:
    """A size that the domain can have."""
    if isinstance(domain, domains.Group):
        return domain.order
    return random.choice(SIZES.get(domain.name, (1, 2, 3, 5, 8, 13, 21)))


def draw_on_sets(seed: int, **fixed: str) -> Problem:
    """The problem of that seed on a finite set; `domain`, `algebra`, `host` and `unknown` may be fixed."""
    random = Random(seed)
    domain = domains.named(fixed.get("domain") or random.choice(NAMES + GROUPS))
    assert isinstance(domain, FiniteDomain)
    algebra = fixed.get("algebra") or random.choice(ALGEBRAS)
    over = algebras.named(algebra)
    host = "numpy" if over.arithmetic == "objects" else fixed.get("host") or random.choice(("numpy", "numpy", "torch"))
    x_dtype, k_dtype = _dtypes(random.randint, algebra, host)
    pattern = random.choice(PATTERNS)
    letters = {name: random.randint(1, 3) for name in sorted(set(pattern) & set("bcgo"))}
    size = [size_of(domain, random)]
    flip = domain.inverse(size[0]) is None or random.random() < 0.6
    x, k = pattern.split("->")[0].split(",")
    problem = problem_of(
        flip, Spec(_shape(x, letters, size), x_dtype), Spec(_shape(k, letters, size), k_dtype), pattern, on=domain,
        over=algebra, host=host,
    )  # fmt: skip
    linear = over.ring or over.beats or over.share
    smooth = linear and "bool" not in (x_dtype, k_dtype)
    return problem.gradient(fixed.get("unknown") or (random.choice(("out", "out", "x", "k")) if smooth else "out"))


def check_domain(domain: FiniteDomain, size: int) -> None:
    """The declared laws of a domain, on every pair (triples of indices at random), and its list of triples against its product.

    Raises:
        AssertionError: with the law and the size.
    """
    u, v = (a.ravel() for a in np.indices((size, size)))
    w = domain.product(u, v, size)
    said = f"{domain.text} of size {size}"
    assert ((w >= -1) & (w < size)).all(), f"{said}: a product is no index"
    listed = domain.triples(size)
    assert {*zip(listed.u.tolist(), listed.v.tolist(), listed.w.tolist(), strict=True)} == {
        (a, b, c) for a, b, c in zip(u.tolist(), v.tolist(), w.tolist(), strict=True) if c >= 0
    }, f"{said}: the list of triples is not the product's"
    assert (np.diff(listed.v) >= 0).all(), f"{said}: the list is not sorted by v"
    assert (listed.start == np.searchsorted(listed.v, np.arange(size + 1))).all(), (
        f"{said}: the list's starts are wrong"
    )
    assert domain.count(size) >= listed.u.size, f"{said}: counts {domain.count(size)} pairs, lists {listed.u.size}"
    if "commutative" in domain.laws:
        assert (w == domain.product(v, u, size)).all(), f"{said}: u·v is not v·u"
    if "associative" in domain.laws:
        a, b, c = np.random.default_rng(size).integers(0, size, (3, 4000))
        left, right = (
            _meet(domain, _meet(domain, a, b, size), c, size),
            _meet(domain, a, _meet(domain, b, c, size), size),
        )
        assert (left == right).all(), f"{said}: (u·v)·w is not u·(v·w)"
    g, neutral = np.arange(size), domain.neutral(size)
    if neutral is not None:
        for pair in ((g, 0 * g + neutral), (0 * g + neutral, g)):
            assert (domain.product(*pair, size) == g).all(), f"{said}: {neutral} is not neutral"
    else:
        left = [(domain.product(0 * g + e, g, size) == g).all() for e in range(size)]
        assert size < 3 or not any(left), f"{said}: has a neutral index, and says that it has none"
    back = domain.inverse(size)
    assert (back is not None) == ("group" in domain.laws), f"{said}: has inverses if and only if it is a group"
    if back is not None:
        for pair in ((g, back), (back, g)):
            assert (domain.product(*pair, size) == 0).all(), f"{said}: g·g⁻¹ is not 0"


def _meet(domain: FiniteDomain, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
    """The product, where −1 stays −1."""
    gone = (u < 0) | (v < 0)
    return np.where(gone, -1, domain.product(np.maximum(u, 0), np.maximum(v, 0), size))


def reference(domain: FiniteDomain, x: np.ndarray, k: np.ndarray) -> list:
    """x ∗ k of Python's numbers by two plain loops: for exact values."""
    size = len(x)
    y: list = [0] * size
    for u in range(size):
        for v in range(size):
            w = int(domain.product(np.array([u]), np.array([v]), size)[0])
            if w >= 0:
                y[w] += x[u] * k[v]
    return y
