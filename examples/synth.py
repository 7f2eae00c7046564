"""A small classifier of fractals, trained on pictures that no one had to collect or label."""

import numpy as np

from faltung import data, synth


def features(image: np.ndarray) -> np.ndarray:
    """How many boxes of each size are touched, and how the picture is spread: numbers a ruler could take."""
    touched = image > 0
    counts = [touched.reshape(64 // b, b, 64 // b, b).any((1, 3)).mean() for b in (1, 2, 4, 8)]
    rows, columns = np.nonzero(touched)
    return np.array([*counts, rows.std(), columns.std(), np.corrcoef(rows, columns)[0, 1]])


def main() -> None:
    pictures = synth.FractalClasses(8, 40, seed=4, size=64, method="search", points=20_000)
    found = np.nan_to_num(np.stack([features(pictures[i][0]) for i in range(len(pictures))]))
    labels = np.array([pictures[i][1] for i in range(len(pictures))])
    found = (found - found.mean(0)) / (found.std(0) + 1e-12)
    train = np.arange(len(pictures)) % 2 == 0
    centres = np.stack([found[train & (labels == c)].mean(0) for c in range(8)])
    told = ((found[~train, None] - centres) ** 2).sum(-1).argmin(1)
    accuracy = (told == labels[~train]).mean()
    print(f"eight classes of fractals by seven numbers and the nearest centre: {accuracy:.0%} right, 12% by chance")
    assert accuracy > 0.35

    # A photo and a mask, warped by the same drawn field: they stay aligned.
    photo = data.photo().mean(2) / 255
    mask = photo > 0.6
    change = synth.LocalAugment(synth.warp, fields=2)
    state = change.sample_state(photo.shape, rng=7)
    warped, with_it = change.apply(photo, state), change.apply(mask.astype(float), state)
    clear = (with_it == 1) | (with_it == 0)  # away from the mask's edge
    agree = ((warped > 0.6) == (with_it == 1))[clear].mean()
    print(f"the mask of a warped photo is the warped mask for {agree:.2%} of the pixels")
    assert agree > 0.98


if __name__ == "__main__":
    main()
