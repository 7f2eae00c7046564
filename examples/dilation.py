"""Another arithmetic: with the largest sum in place of the sum of products, convolution is dilation."""

import numpy as np

from faltung import convolve, data, filters


def main() -> None:
    grey = data.photo().mean(axis=2).astype(np.float32)
    disk = filters.parse("disk:3", ndim=2, over="max-plus").astype(np.float32)  # 0 within the disk, -inf outside
    lighter = convolve(grey, disk, over="max-plus", mode="same", boundary="reflect")
    darker = -convolve(-grey, disk, over="max-plus", mode="same", boundary="reflect")  # erosion: dilation upside down
    outlines = lighter - darker
    print(f"mean {grey.mean():.0f}; dilated {lighter.mean():.0f}, eroded {darker.mean():.0f}")

    twice = convolve(lighter, disk, over="max-plus", mode="same", boundary="reflect")
    assert (darker <= grey).all()
    assert (grey <= lighter).all()
    assert (lighter <= twice).all()
    assert outlines.min() >= 0


if __name__ == "__main__":
    main()
