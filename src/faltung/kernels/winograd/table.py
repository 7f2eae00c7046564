"""The interpolation points of smallest error, by their number: what transforms use when none are named."""

from fractions import Fraction

# Positive halves of the point sets of smallest α with small fractions, by number of points n − 1; every set is closed under
# a → −a, and odd sets hold 0. The search (`points(..., search=True)`) finds them again.
_HALVES = {
    1: "", 2: "2/3", 3: "1", 4: "3/8 5/4", 5: "2/3 3/2", 6: "1/4 7/8 7/4", 7: "1/2 1 2",
    8: "1/4 5/8 9/8 9/4", 9: "2/5 4/5 5/4 5/2", 10: "1/5 4/7 9/10 4/3 13/5", 11: "3/8 2/3 1 3/2 8/3",
    12: "1/6 1/2 4/5 9/8 5/3 16/5", 13: "1/3 5/8 7/8 8/7 8/5 3",
}  # fmt: skip
TABLE: dict[int, tuple[Fraction, ...]] = {}
for _count, _half in _HALVES.items():
    _positive = [Fraction(_v) for _v in _half.split()]
    TABLE[_count] = (*([Fraction(0)] if _count % 2 else []), *(_s for _v in _positive for _s in (_v, -_v)))
