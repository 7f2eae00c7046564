"""Filters as plain float64 arrays of any dimension: `convolve(x, gaussian(2.0))`. One file each, one line each here.

`ALL` lists them, `parse` reads expressions such as `gaussian:sigma=4`.
"""

from faltung.filters.binomial import FILTER as BINOMIAL
from faltung.filters.binomial import binomial
from faltung.filters.box import FILTER as BOX
from faltung.filters.box import box
from faltung.filters.disk import FILTER as DISK
from faltung.filters.disk import disk
from faltung.filters.dog import FILTER as DOG
from faltung.filters.dog import dog
from faltung.filters.expressions import parse
from faltung.filters.filter import Filter
from faltung.filters.gabor import FILTER as GABOR
from faltung.filters.gabor import gabor
from faltung.filters.gaussian import FILTER as GAUSSIAN
from faltung.filters.gaussian import gaussian, gaussian_factors
from faltung.filters.laplacian import FILTER as LAPLACIAN
from faltung.filters.laplacian import laplacian
from faltung.filters.motion import FILTER as MOTION
from faltung.filters.motion import motion
from faltung.filters.parabola import FILTER as PARABOLA
from faltung.filters.parabola import parabola
from faltung.filters.sobel import FILTER as SOBEL
from faltung.filters.sobel import sobel
from faltung.filters.symbol import Symbol
from faltung.filters.wavelet import FILTER as WAVELET
from faltung.filters.wavelet import wavelet

ALL: tuple[Filter, ...] = (
    GAUSSIAN,
    BOX,
    BINOMIAL,
    DISK,
    MOTION,
    SOBEL,
    LAPLACIAN,
    DOG,
    GABOR,
    WAVELET,
    PARABOLA,
)

__all__ = [
    "ALL",
    "Filter",
    "Symbol",
    "binomial",
    "box",
    "disk",
    "dog",
    "gabor",
    "gaussian",
    "gaussian_factors",
    "laplacian",
    "motion",
    "parabola",
    "parse",
    "sobel",
    "wavelet",
]
