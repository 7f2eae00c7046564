"""OpenCV: filter2D, sepFilter2D, boxFilter, dilate; images of up to four channels, same size."""

import cv2
import numpy as np

name = "OpenCV"
BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "edge": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,
    "symmetric": cv2.BORDER_REFLECT,
}


def calls(problem, hint, x, k, y) -> dict:
    g = problem.grid
    image = problem.pattern in ("*s, *s -> *s", "*s c, *s -> *s c") and g.ndim == 2 and problem.unknown == "out"
    if not image or any(t % 2 == 0 for t in g.t) or problem.pads != tuple((t // 2, t // 2) for t in g.t):
        return {}
    border = BORDERS.get(problem.boundary[0].kind)
    if border is None or len(set(problem.boundary)) > 1 or str(x.dtype) not in ("float32", "float64", "uint8"):
        return {}
    depth = {"float32": cv2.CV_32F, "float64": cv2.CV_64F, "uint8": cv2.CV_8U}.get(problem.out_dtype)
    if problem.algebra == "max-plus":
        return {"dilate": lambda: cv2.dilate(x, np.ones(k.shape, np.uint8))} if hint == "zeros" else {}
    if hint == "distance":
        mask = (x > 0).astype(np.uint8)
        return {"distanceTransform": lambda: cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)}
    if problem.algebra != "real" or depth is None:
        return {}
    found = {"filter2D": lambda: cv2.filter2D(x, depth, k, borderType=border)}
    if hint.startswith("gaussian"):
        row = np.sqrt(np.diag(k)).astype(k.dtype)
        found = {"sepFilter2D": lambda: cv2.sepFilter2D(x, depth, row, row, borderType=border)}
    if hint == "box":
        found["boxFilter"] = lambda: cv2.boxFilter(x, depth, g.t, borderType=border)
    return found
