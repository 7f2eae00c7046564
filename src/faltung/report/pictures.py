"""Pictures of filters and maps as PNG within the page."""

import base64
import io
from html import escape
from typing import Any

import numpy as np

LARGEST = 256  # filters in one picture
ACROSS = 480  # pixels


def filters(kernel: Any, label: str) -> str:
    """Filters as tiles, one an output: three inputs as colour, others as the first input's; each tile by its own range.

    Shapes: kernel (out, in, kh, kw).
    """
    kernel = np.asarray(kernel, np.float64)[:LARGEST]
    out, into, kh, kw = kernel.shape
    shades = kernel.transpose(0, 2, 3, 1) if into == 3 else np.repeat(kernel[:, 0, ..., None], 3, axis=-1)
    low, high = shades.min((1, 2, 3), keepdims=True), shades.max((1, 2, 3), keepdims=True)
    shades = (shades - low) / np.where(high > low, high - low, 1)
    across = int(np.ceil(np.sqrt(out * kh / kw)))
    down = -(-out // across)
    tiles = np.ones((down * across, kh + 1, kw + 1, 3))
    tiles[:out, :kh, :kw] = shades
    sheet = tiles.reshape(down, across, kh + 1, kw + 1, 3).swapaxes(1, 2).reshape(down * (kh + 1), across * (kw + 1), 3)
    return _png(sheet[:-1, :-1], label)


def heat(values: Any, label: str) -> str:
    """A map of sizes, white for 0 and dark for the largest, by logarithm over three decades.

    Shapes: values (height, width), none below 0.
    """
    values = np.asarray(values, np.float64)
    shares = 1 + np.log10(np.maximum(values / (values.max() or 1.0), 1e-3)) / 3
    dark = np.array([0.04, 0.15, 0.36])
    return _png(1 - shares[..., None] * (1 - dark), label)


def _png(sheet: np.ndarray, label: str) -> str:
    """A picture (height, width, 3) of shares 0 to 1, enlarged by a whole number."""
    from faltung.media import package

    scale = max(1, ACROSS // sheet.shape[1])
    sheet = np.round(255 * sheet).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
    image = package("PIL.Image", "pillow", "drawing filters").fromarray(sheet)
    with io.BytesIO() as written:
        image.save(written, "PNG", optimize=True)
        data = base64.b64encode(written.getvalue()).decode()
    size = f'width="{sheet.shape[1]}" height="{sheet.shape[0]}"'
    return f'<img src="data:image/png;base64,{data}" {size} alt="{escape(label, quote=True)}">'
