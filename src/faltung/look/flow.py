"""Which frequencies a linear convolutional network learns first, and how its end-to-end map grows in time."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from faltung.errors import ArgumentError
from faltung.filters.filter import whole

METHODS = ("auto", "closed", "ode")
DIAGONAL = 1e-9
"""The share of a covariance off its diagonal of frequencies up to which the closed form is taken for exact."""


@dataclass(frozen=True, eq=False)
class Flow:
    """How a linear convolutional network learns.

    Fields:
        times: (t).   gains: (t, *n) size of the end-to-end map at each frequency.
        targets: (*n) where it ends: s / λ by the closed form, else that of least squares.
        correlation, power: (*n) s = ‖Σ_yx‖ and λ of the inputs.   stationary: how much of Σ_xx lies off its diagonal of
            frequencies, 0 where the closed form is exact.
        maps: (t, outputs, *n) the end-to-end map itself, what each result multiplies each place of the input by.
        method: `closed` or `ode`, the way that was taken.
    """

    times: np.ndarray
    gains: np.ndarray
    targets: np.ndarray
    correlation: np.ndarray
    power: np.ndarray
    stationary: float
    maps: np.ndarray
    method: str


def frequency_statistics(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """(s, λ, off-diagonal share): correlation of outputs with each frequency of the inputs, power of each frequency.

    Shapes: x (samples, *n), y (samples, outputs).   The transform is unitary, so λ are eigenvalues of a stationary covariance.
    """
    x, y = _pairs(x, y, "frequency_statistics")
    cross, covariance = _moments(x, y)
    power = np.diag(covariance).real
    away = np.abs(covariance - np.diag(power)) ** 2
    share = away.sum() / max((np.abs(covariance) ** 2).sum(), 1e-300)
    shape = x.shape[1:]
    return np.linalg.norm(cross, axis=0).reshape(shape), power.reshape(shape), float(share)


def linear_cnn_flow(
    x: Any,
    y: Any,
    times: Any,
    start: Any = 1e-3,
    *,
    channels: int | None = None,
    method: str = "auto",
    seed: int | None = None,
    rtol: float = 1e-8,
) -> Flow:
    """Gradient flow of a linear network of one circular convolution with full-size filters and a dense readout.

    Formula: `ŷ = Σ_c V_c (w_c ⊛ x)`, with `(w ⊛ x)(i) = N^(−1/2) Σ_j w(i − j) x(j)` on N places, whose unitary transform is the
    product of the transforms; loss ½ mean ‖y − ŷ‖². In frequencies the end-to-end map is `B̂ = Σ_c V̂_c · conj ŵ_c`, and with
    `E = Σ_yx − B Σ_xx` filters and readouts change by `ŵ_c' = Σ_k conj(Ê_k) V̂_ck` and `V̂_c' = Ê ŵ_c`. Where Σ_xx is diagonal in
    frequencies and the start is balanced and points along Σ_yx, each frequency learns alone, whatever the number of channels:
    `a(t) = (s / λ) / (1 + (s / (λ a₀) − 1) e^(−2 s t))` with s = ‖Σ_yx‖ and λ the power of the inputs at the frequency.
    A convolution without the factor N^(−1/2) runs through the same maps √N times as fast, from filters and readouts N^(−1/4) times
    as large.

    Shapes: x (samples, *n), y (samples, outputs), times (t).

    Args:
        start: a₀, above 0, the size of the end-to-end map at every frequency in the beginning; or (filters (channels, *n), readouts
            (channels, outputs, *n)). Default 1e-3, balanced and along Σ_yx.
        channels: C. Default: as the start given has, else 1.
        method: `closed`, the closed form (for a start a₀); `ode`, the flow itself, integrated; `auto`, the closed form where it is
            exact: at most 1e-9 of the squares of Σ_xx are off its diagonal, and the start is balanced along Σ_yx. Default auto.
        seed: draws filters and readouts at random, normal, so that a₀ is the root mean square of the map's sizes. Default: none,
            balanced.
        rtol: of the integration.

    Raises:
        ArgumentError: shapes that do not fit, a start of 0, negative times for `ode`, `closed` from a start that it does not know.

    Error: closed: that of the arithmetic, where it is exact; `stationary` of the result says how far from that. ode: about 100
        rtol.
    Cost: samples · N² for the covariance; ode: some steps for each of the fastest frequency's times, of C · outputs · N log N +
        outputs · N² each.
    Source: Pinson, Lenaerts and Ginis, Linear CNNs discover the statistical structure of the dataset using only the most
        dominant frequencies (2023); Saxe, McClelland and Ganguli (2014) for the curve.

    Example:
        >>> x = np.eye(4)
        >>> flow = linear_cnn_flow(x, x[:, :1], [0.0, 1000.0])
        >>> flow.method, flow.maps[-1, 0].round(6).tolist()
        ('closed', [1.0, 0.0, 0.0, 0.0])
    """
    who = "linear_cnn_flow"
    x, y = _pairs(x, y, who)
    times = np.asarray(times, np.float64).reshape(-1)
    if method not in METHODS:
        raise ArgumentError.of(who, f"a method among {', '.join(METHODS)}", repr(method), "choose one of these")
    given = _given(x, y, start, who) if isinstance(start, (tuple, list)) else None
    many = 1 if given is None else len(given[0])
    if channels is not None:
        asked = whole(who, "channels", channels, 1)
        if given is not None and asked != many:
            raise ArgumentError.of(who, f"the {many} channels of the start", repr(channels), "leave channels out")
        many = asked
    if given is None and not float(start) > 0:
        raise ArgumentError.of(who, "a start above 0", repr(start), "nothing grows from 0: take 1e-3")
    known = given is None and seed is None
    if method == "closed" and not known:
        raise ArgumentError.of(who, "a start a₀ without a seed for method 'closed'", "another", "use method='ode'")
    correlation, power, share = frequency_statistics(x, y)
    waves = _waves(np.tensordot(y, x, (0, 0)) / len(x), x.shape[1:])
    directions = np.zeros_like(waves)
    directions[0] = (
        1  # where nothing correlates any output will do, but not that of rounding, which is that of no real map
    )
    some = correlation > 1e-12 * correlation.max(initial=0)
    directions = np.where(some, waves / np.where(some, correlation, 1), directions)
    if method == "closed" or (method == "auto" and known and share <= DIAGONAL):
        targets = np.divide(correlation, power, out=np.zeros_like(power), where=power > 0)
        gains = learning_curve(correlation, power, float(start), times)
        return Flow(
            times, gains, targets, correlation, power, share, _back(gains[:, None] * directions, x.shape[1:]), "closed"
        )
    if given is None:
        given = _drawn(float(start), many, directions, seed)
    maps = _integrated(x, y, times, given, rtol)
    flat = x.reshape(len(x), -1)
    final = np.linalg.lstsq(flat, y, rcond=None)[0].T.reshape(y.shape[1], *x.shape[1:])
    targets = np.linalg.norm(_waves(final, x.shape[1:]), axis=0)
    gains = np.linalg.norm(_waves(maps, x.shape[1:]), axis=1)
    return Flow(times, gains, targets, correlation, power, share, maps, "ode")


def learning_curve(correlation: Any, power: Any, start: float, times: Any) -> np.ndarray:
    """a(t) = (s / λ) / (1 + (s / (λ a₀) − 1) e^(−2 s t)) for each time (first axis) and mode; a₀ stays where s is 0 and λ is 0.

    Example:
        >>> float(learning_curve(1.0, 2.0, 0.5, [3.0])[0])
        0.5
    """
    s, lam = np.broadcast_arrays(np.asarray(correlation, np.float64), np.asarray(power, np.float64))
    t = np.asarray(times, np.float64).reshape(-1, *(1,) * s.ndim)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Written without s / λ, which holds for λ = 0 too, and without 1 − e^(−2 s t), which is noise where s is next to nothing.
        curve = start * s / (s * np.exp(-2 * s * t) - start * lam * np.expm1(-2 * s * t))
        still = start / (1 + 2 * lam * start * t)  # s = 0: the flow a' = −2 λ a²
    return np.where(s == 0, still, curve)


def discovery_order(x: Any, y: Any, start: float = 1e-3) -> list[tuple[tuple[int, ...], float]]:
    """Frequencies in the order in which they are learnt, with the time at which half of s / λ is reached; what never is, left out.

    Formula: t = ln(s / (λ a₀) − 1) / (2 s).
    """
    correlation, power, _ = frequency_statistics(x, y)
    found = []
    for place in np.ndindex(correlation.shape):
        s, lam = correlation[place], power[place]
        if s > 0 and lam > 0 and s / (lam * start) > 1:
            ratio = s / (lam * start) - 1
            found.append((place, float(max(np.log(ratio), 0.0) / (2 * s)) if ratio > 0 else 0.0))
    return sorted(found, key=lambda entry: entry[1])


def _pairs(x: Any, y: Any, who: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim < 2 or y.ndim != 2 or len(x) != len(y) or not x.size:
        raise ArgumentError.of(
            who, "x (samples, *n) and y (samples, outputs)", f"{x.shape} and {y.shape}", "give one row for each sample"
        )
    return x, y


def _moments(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    waves = np.fft.fftn(x, axes=tuple(range(1, x.ndim)), norm="ortho").reshape(len(x), -1)
    return y.T @ waves / len(x), waves.conj().T @ waves / len(x)


def _given(x: np.ndarray, y: np.ndarray, start: Any, who: str) -> tuple[np.ndarray, np.ndarray]:
    """Filters and readouts as they came, if they are those of such a network."""
    n = x.shape[1:]
    parts = [np.asarray(part, np.float64) for part in start]
    if len(parts) != 2 or parts[0].shape[1:] != n or parts[1].shape != (len(parts[0]), y.shape[1], *n):
        raise ArgumentError.of(
            who, f"a start a₀, or filters (channels, {', '.join(map(str, n))}) and readouts (channels, {y.shape[1]}, ...)",
            " and ".join(str(part.shape) for part in parts), "give both on the places of the inputs",
        )  # fmt: skip
    return parts[0], parts[1]


def _drawn(start: float, channels: int, directions: np.ndarray, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Filters and readouts whose map has about the size a₀ at every frequency: balanced along the directions, or at random."""
    outputs, *n = directions.shape
    if seed is not None:
        rng = np.random.default_rng(seed)
        size = (start / np.sqrt(channels * outputs)) ** 0.5
        return size * rng.standard_normal((channels, *n)), size * rng.standard_normal((channels, outputs, *n))
    root = (start / channels) ** 0.5
    filters = _back(np.full((channels, *n), root, complex), n)
    return filters, np.repeat(_back(root * directions, n)[None], channels, 0)


def _integrated(
    x: np.ndarray, y: np.ndarray, times: np.ndarray, start: tuple[np.ndarray, np.ndarray], rtol: float
) -> np.ndarray:
    """The end-to-end maps at those times, by an explicit Runge–Kutta pair of order 8."""
    if not (np.isfinite(times).all() and (times >= 0).all()):
        raise ArgumentError.of("linear_cnn_flow", "finite times of at least 0", str(times), "leave the others out")
    n, (filters, readouts) = x.shape[1:], start
    flat = x.reshape(len(x), -1)
    covariance, cross = flat.T @ flat / len(x), y.T @ flat / len(x)
    cut = filters.size

    def parts(state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _waves(state[:cut].reshape(filters.shape), n), _waves(state[cut:].reshape(readouts.shape), n)

    def whole_map(state: np.ndarray) -> np.ndarray:
        w, v = parts(state)
        return _back((v * w.conj()[:, None]).sum(0), n)

    def change(_: float, state: np.ndarray) -> np.ndarray:
        w, v = parts(state)
        found = _back((v * w.conj()[:, None]).sum(0), n).reshape(len(cross), prod(n))
        off = _waves((cross - found @ covariance).reshape(len(cross), *n), n)
        moved = _back((off.conj() * v).sum(1), n), _back(off * w[:, None], n)
        return np.concatenate([part.ravel() for part in moved])

    at, places = np.unique(np.append(times, 0.0), return_inverse=True)
    state = np.concatenate([filters.ravel(), readouts.ravel()])
    if len(at) == 1:
        return np.repeat(whole_map(state)[None], len(times), 0)
    scale = max(float(np.abs(state).max()), 1e-300)
    found = solve_ivp(change, (0.0, at[-1]), state, "DOP853", at, rtol=rtol, atol=1e-3 * rtol * scale)
    if not found.success:
        raise ArgumentError.of("linear_cnn_flow", "a flow that can be integrated", found.message, "take shorter times")
    maps = np.stack([whole_map(column) for column in found.y.T])
    return maps[places[: len(times)]]


def _waves(values: np.ndarray, n: Any) -> np.ndarray:
    """The unitary transform over the last axes, those of places."""
    return np.fft.fftn(values, axes=tuple(range(-len(n), 0)), norm="ortho")


def _back(waves: np.ndarray, n: Any) -> np.ndarray:
    """The signals with that unitary transform, real ones."""
    return np.fft.ifftn(waves, axes=tuple(range(-len(n), 0)), norm="ortho").real
