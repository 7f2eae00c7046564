"""Bessel functions of large order or argument: Debye's expansions, uniform in both, written so that nothing cancels.

With w = √(v² + x²) and t = v / w, `log I_v(x) = w − v asinh(v / x) − ½ log 2πw + log Σ_k p_k(t²) w^-k`, and the same for K with
the signs of w and of odd k turned. In the usual notation p_k(t²) = u_k(t) / t^k: so written, order 0 is not special (there it is
Hankel's expansion), and thirteen terms are good to rounding as soon as v ≥ 16 or w ≥ 25.
"""

from fractions import Fraction
from functools import cache

import numpy as np

TERMS = 13
ORDER, REACH = 16.0, 25.0  # where the expansion holds: v ≥ ORDER or w ≥ REACH
CHUNK = 4096  # values whose powers stay in the cache


@cache
def tables() -> dict[str, np.ndarray]:
    """Coefficients by powers of t², a row for each k: `p`, `q` of the logarithmic derivative, and the derivatives of both.

    From u_{k+1} = ½t²(1 − t²)u_k′ + ⅛∫₀ᵗ(1 − 5s²)u_k(s)ds. With v_k for the derivative of the function, v_k − u_k = (1 − t²)s_k
    and s_k = −t(½u_{k−1} + t u_{k−1}′), whose coefficients are q.
    """
    rows = [[Fraction(1)]]
    for k in range(TERMS):
        u, new = rows[-1], [Fraction(0)] * (k + 2)
        for j, c in enumerate(u):  # c t^(k + 2j)
            power = k + 2 * j
            new[j] += c * Fraction(power, 2) + c / (8 * (power + 1))
            new[j + 1] -= c * Fraction(power, 2) + 5 * c / (8 * (power + 3))
        rows.append(new)
    size = TERMS + 1
    table = {name: np.zeros((size, size)) for name in ("p", "dp", "q", "dq")}
    for k, row in enumerate(rows):
        for j, c in enumerate(row):
            table["p"][k, j] = float(c)
            if j:
                table["dp"][k, j - 1] = float(j * c)
            if k + 1 < size:
                turned = -c * (Fraction(2 * k + 1, 2) + 2 * j)
                table["q"][k + 1, j] = float(turned)
                if j:
                    table["dq"][k + 1, j - 1] = float(j * turned)
    return table


def holds(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Where the expansion is good to rounding."""
    return (v >= ORDER) | (np.hypot(v, x) >= REACH)


class Expansion:
    """The sums of the expansion at some v and x (one axis, of up to CHUNK values); `sign` is 1 for I and −1 for K."""

    def __init__(self, v: np.ndarray, x: np.ndarray, sign: float) -> None:
        self.v, self.x, self.sign = v, x, sign
        self.w = np.hypot(v, x)
        self.t = v / self.w
        self.complement = (x / self.w) ** 2  # 1 − t²
        self.inverse = sign / self.w
        self.square = self.t * self.t
        self.series = self._sum("p")

    def _sum(self, name: str, each: np.ndarray | None = None) -> np.ndarray:
        """Σ_k each_k · row_k(t²) · (sign / w)^k."""
        table = tables()[name]
        total, row = np.zeros_like(self.w), np.empty_like(self.w)
        for k in reversed(range(TERMS + 1)):
            total *= self.inverse
            row.fill(table[k, k])
            for c in table[k, :k][::-1]:
                row *= self.square
                row += c
            if each is not None:
                row *= each[k]
            total += row
        return total

    def log(self) -> np.ndarray:
        """The logarithm of the function."""
        exponent = self.w - self.v * np.arcsinh(self.v / self.x)
        constant = -0.5 * np.log(2 * np.pi) if self.sign > 0 else 0.5 * np.log(np.pi / 2)
        return self.sign * exponent + constant - 0.5 * np.log(self.w) + np.log(self.series)

    def ratio(self) -> np.ndarray:
        """I_{v+1} / I_v = d log I / dx − v / x without the subtraction; for K it is K_{v−1} / K_v."""
        return self.x / (self.w + self.v) + self.x / self.w * (self._sum("q") / self.series)

    def ratio_slope(self) -> np.ndarray:
        """The derivative of `ratio` by x: by t² and by w, for 1 − R² − (2v + 1)R / x loses x² roundings."""
        q, k = self._sum("q") / self.series, np.arange(TERMS + 1.0)
        down = -self.x / self.w**2  # d t² / dx = 2 t² down, and d w^-k / dx = k w^-k down
        slopes = [2 * self.t**2 * self._sum(f"d{name}") + self._sum(name, k) for name in ("q", "p")]
        change = down * (slopes[0] - q * slopes[1]) / self.series
        return self.t / (self.w + self.v) + self.t**2 / self.w * q + self.x / self.w * change

    def by_order(self) -> np.ndarray:
        """The derivative of the logarithm by v."""
        inner = 2 * self.complement * self._sum("dp") - self._sum("p", np.arange(TERMS + 1.0))
        return -self.sign * np.arcsinh(self.v / self.x) + self.t / self.w * (inner / self.series - 0.5)
