"""A photo, blurred and sharpened: one filter for three colours, and the values stay bytes."""

import numpy as np

from faltung import convolve, data, filters


def main() -> None:
    photo = data.photo()
    colours = {"mode": "same", "boundary": "reflect", "dtype": "uint8"}
    soft = convolve(photo, filters.gaussian(3.0), "*s c, *s -> *s c", **colours)

    sharpener = -1.5 * filters.gaussian(1.5)  # the picture plus one and a half times what a blur takes away
    sharpener[tuple(n // 2 for n in sharpener.shape)] += 2.5
    sharp = convolve(photo, sharpener, "*s c, *s -> *s c", **colours)

    contrast = {name: float(np.abs(np.diff(p.astype(float), axis=1)).mean()) for name, p in
                (("photo", photo), ("soft", soft), ("sharp", sharp))}  # fmt: skip
    for name, value in contrast.items():
        print(f"{name:6} neighbours differ by {value:.1f} of 255")
    assert soft.dtype == sharp.dtype == np.uint8
    assert contrast["soft"] < contrast["photo"] / 2 < contrast["photo"] * 1.2 < contrast["sharp"]


if __name__ == "__main__":
    main()
