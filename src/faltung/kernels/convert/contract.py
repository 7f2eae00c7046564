"""What the rounding kernel computes, in NumPy: the reference that every tool's version equals."""

import numpy as np


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Nearest integers, halves to even, values beyond the type's range at its ends, NaN at zero."""
    info = np.iinfo(dtype)
    return np.nan_to_num(np.clip(np.rint(values), info.min, info.max), nan=0.0).astype(dtype)
