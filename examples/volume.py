"""A brain in three dimensions: smoothed, then how steeply it changes in every direction."""

import numpy as np

from faltung import convolve, data, filters


def main() -> None:
    brain = data.volume().astype(np.float32)
    same = {"mode": "same", "boundary": "reflect"}
    smooth = convolve(brain, filters.gaussian((0.9, 1.0, 1.0)), **same)
    slopes = [convolve(smooth, filters.sobel(axis, ndim=3), **same) for axis in "xyz"]
    steepness = np.sqrt(sum(slope**2 for slope in slopes))

    inside = smooth > smooth.max() / 4
    edge = inside ^ convolve(
        inside, np.ones((1, 3, 3), bool), mode="same", over="boolean"
    )  # what one step outwards adds
    print(f"steepness on the edge of the brain {steepness[edge].mean():.0f}, within {steepness[inside].mean():.0f}")
    assert steepness.shape == brain.shape
    assert steepness[edge].mean() > steepness[inside].mean()


if __name__ == "__main__":
    main()
