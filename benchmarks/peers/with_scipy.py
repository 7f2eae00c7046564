"""SciPy: signal.convolve, fftconvolve, oaconvolve, convolve2d and ndimage, wherever they can do the job."""

import numpy as np
from scipy import ndimage, signal

name = "SciPy"
MODES = {"constant": "constant", "edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "wrap"}
SLOW = 3e8  # multiply-adds that a direct loop of SciPy is not asked for


def calls(problem, hint, x, k, y) -> dict:
    if problem.unknown != "out" or any(s != 1 for s in (*problem.stride, *problem.dilation)):
        return {}
    if problem.pattern == "*s, *s -> *s":
        return _plain(problem, hint, x, k)
    if problem.algebra == "real" and problem.grid.ndim == 1 and problem.grid.zero_padded:
        return _channels(problem, x, k)
    return {}


def _mode(problem) -> str | None:
    g = problem.grid
    for mode, pads in (
        ("full", tuple((r - 1, r - 1) for r in g.reach)),
        ("same", tuple((r // 2, r - 1 - r // 2) for r in g.reach)),
        ("valid", ((0, 0),) * g.ndim),
    ):
        if problem.pads == pads:
            return mode
    return None


def _plain(problem, hint, x, k) -> dict:
    g, mode = problem.grid, _mode(problem)
    kinds = {b.kind for b in problem.boundary}
    if mode is None or len(kinds) > 1:
        return {}
    flipped = np.ascontiguousarray(k[(slice(None, None, -1),) * k.ndim])
    border = MODES[kinds.pop()]
    found = {}
    if problem.algebra == "max-plus":
        if hint == "zeros":
            return {"grey_dilation": lambda: ndimage.grey_dilation(x, size=g.t, mode="constant", cval=-np.inf)}
        zeros = np.ones(k.shape, bool)
        return {
            "grey_dilation": lambda: ndimage.grey_dilation(
                x, footprint=zeros, structure=flipped, mode="constant", cval=-np.inf
            )
        }
    if problem.algebra == "min-plus":
        if hint == "distance":
            return {"distance_transform_edt": lambda: ndimage.distance_transform_edt(x)}
        cells = np.ones(k.shape, bool)
        return {
            "grey_erosion": lambda: ndimage.grey_erosion(x, footprint=cells, structure=-k, mode="constant", cval=np.inf)
        }
    if problem.algebra == "boolean":
        return {"binary_dilation": lambda: ndimage.binary_dilation(x, structure=flipped)}
    if problem.algebra == "integer":
        wide, taps = x.astype(np.int64), flipped.astype(np.int64)
        found["fftconvolve, rounded"] = lambda: np.rint(signal.fftconvolve(x.astype(float), taps.astype(float), mode))
        if problem.macs < SLOW:
            found["convolve"] = lambda: signal.convolve(wide, taps, mode)
        return found
    if g.zero_padded and problem.x_dtype == problem.out_dtype:
        found["fftconvolve"] = lambda: signal.fftconvolve(x, flipped, mode)
        found["oaconvolve"] = lambda: signal.oaconvolve(x, flipped, mode)
        if problem.macs < SLOW:
            found["convolve"] = lambda: signal.convolve(x, flipped, mode, method="direct")
        if x.ndim == 2 and problem.macs < SLOW:
            found["convolve2d"] = lambda: signal.convolve2d(x, flipped, mode)
    if mode == "same" and problem.algebra == "real":
        if hint.startswith("gaussian"):
            sigma = float(hint.split(":")[1])
            found["gaussian_filter"] = lambda: ndimage.gaussian_filter(x, sigma, mode=border)
        elif hint == "box":
            found["uniform_filter"] = lambda: ndimage.uniform_filter(x, g.t, mode=border)
        elif problem.macs < SLOW:
            found["ndimage"] = lambda: ndimage.correlate(x, k, output=problem.out_dtype, mode=border)
    return found


def _channels(problem, x, k) -> dict:
    mode = _mode(problem)
    if mode is None or problem.sizes.O > 1 or problem.sizes.C > 1:
        return {}
    flipped = k[..., ::-1].reshape((1,) * (x.ndim - k.ndim) + k.shape)
    return {
        "fftconvolve": lambda: signal.fftconvolve(x, flipped, mode, axes=-1),
        "oaconvolve": lambda: signal.oaconvolve(x, flipped, mode, axes=-1),
    }
