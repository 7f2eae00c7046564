"""Other sums and products: shapes of a photo, distances, the most probable course of a noisy signal, paths in a graph."""

import numpy as np

from faltung import convolve, correlate, data, filters
from faltung.engine import closure, matmul


def shapes(grey: np.ndarray) -> dict[str, np.ndarray]:
    """Opening, closing and gradient of a photo with a ball instead of a flat disk."""
    ball = -filters.parabola([6, 6]).astype("float32") / 2  # a paraboloid: one envelope an axis
    options = {"mode": "same", "boundary": "symmetric"}

    def dilated(x: np.ndarray) -> np.ndarray:
        return convolve(x, ball, over="max-plus", **options)

    def eroded(x: np.ndarray) -> np.ndarray:
        return correlate(x, -ball, over="min-plus", **options)

    return {"opened": dilated(eroded(grey)), "closed": eroded(dilated(grey)), "gradient": dilated(grey) - eroded(grey)}


def distances(marked: np.ndarray) -> np.ndarray:
    """From every place to the nearest marked one."""
    squares = filters.parabola([n - 1 for n in marked.shape]).astype("float64")
    return np.sqrt(convolve(np.where(marked, 0.0, np.inf), squares, over="min-plus", mode="same"))


def viterbi(scores: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The best course of states: `scores` (time, state) are log-likelihoods, `moves` log-probabilities of a change by −r ... r."""
    best = [scores[0]]
    for now in scores[1:]:
        best.append(now + convolve(best[-1], moves, over="max-plus", mode="same"))
    reach, course = len(moves) // 2, [int(best[-1].argmax())]
    for before in best[-2::-1]:
        state = course[-1]
        near = np.arange(max(0, state - reach), min(len(before), state + reach + 1))
        course.append(int(near[(before[near] + moves[state - near + reach]).argmax()]))
    return np.array(course[::-1])


def main() -> None:
    grey = data.photo().mean(axis=2).astype("float32")
    made = shapes(grey)
    assert (made["opened"] <= grey + 1e-3).all()
    assert (grey <= made["closed"] + 1e-3).all()
    assert made["gradient"].min() >= 0

    marked = np.zeros((60, 80), bool)
    marked[10, 20] = marked[50, 70] = True
    away = distances(marked)
    assert away[10, 23] == 3.0
    assert abs(away[0, 0] - np.hypot(10, 20)) < 1e-12

    # A slow course among 64 levels, seen through noise; the decoder may move by two levels a step.
    random = np.random.default_rng(0)
    truth = np.round(32 + 20 * np.sin(np.arange(400) / 25) + 6 * np.sin(np.arange(400) / 9)).astype(int)
    seen = truth + random.standard_normal(400) * 6
    scores = -0.5 * ((np.arange(64) - seen[:, None]) / 6) ** 2
    course = viterbi(scores, np.full(5, -np.log(5.0)))
    naive, found = np.abs(np.round(seen) - truth).mean(), np.abs(course - truth).mean()
    print(f"levels off: {naive:.1f} as seen, {found:.1f} decoded")
    assert found < naive / 2
    assert np.abs(np.diff(course)).max() <= 2

    # The same moves as a matrix: all courses at once, best or summed.
    inf = np.inf
    roads = np.array([[0, 4, 9, inf], [inf, 0, 3, 8], [inf, inf, 0, 2], [1, inf, inf, 0]])
    ways = closure(roads, over="min-plus")
    print("shortest ways", ways.tolist())
    assert ways[0, 3] == 9.0
    assert np.array_equal(matmul(ways, ways, over="min-plus"), ways)
    assert closure(roads < inf).all()


if __name__ == "__main__":
    main()
