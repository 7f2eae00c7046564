"""Pictures of layers: what each portrait shows, drawn in panels with a caption and the scale of its colours.

A layer's `portrait` names an instance of realistic size and the views, one word each:

    kernels       the first kernels that differ, as drawn from a fixed seed
    taken         a kernel that was asked for, and the nearest that the layer holds (`take`)
    bank          the kernels of all outputs (rows) and inputs (columns)
    impulses      the answer to bright pixels on a grid; one pattern everywhere: the layer does not know places
    inverse       the inverse of the answer to one bright pixel, logarithmic
    field         the effective receptive field of the middle pixel for noise, logarithmic
    photo         the sample photo before and after
    gate          by what the photo was multiplied
    omega         results for numbers of the user from (1, 0) to (0, 1)
    maps          the answer to zeros
    coordinates   the answer to coordinates from −1 to 1
    matrix        the effective matrix of a linear layer
    rows          channels (rows) in time (columns), impulses before and after
    series        a series of two periods before and after
    graph         what becomes of the numbers from −3 to 3
    plane         complex numbers before and after: colour for the angle, brightness for the modulus
    cloud         complex numbers as points, before and after

`stirred` moves all parameters off their first values before, `smooth` puts waves in the place of random kernels, `training` leaves
the layer in training mode.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from faltung import data, tools
from faltung.nn.base import Example
from faltung.testing.layers import Case

HEIGHT, GAP, LINE, MOST = 132, 8, 13, 7
DARK, LIGHT = (40, 40, 40), (255, 255, 255)
FLOOR = 1e-4  # where logarithmic colours end


@dataclass(frozen=True)
class Panel:
    """Numbers (rows, columns), real or complex, their caption, and how they become colours."""

    values: np.ndarray
    caption: str
    colours: str = "signed"


def picture(kind: type) -> Image.Image | None:
    """The portrait of a layer's class, or None where it names none."""
    example: Example | None = kind.portrait
    if example is None:
        return None
    words = set(example.shows)
    layer = Case(kind, example).layer(torch.float32, stir="stirred" in words).train("training" in words)
    with torch.no_grad():
        if "smooth" in words:
            smoothed(layer)
        panels = [panel for word in example.shows if word in VIEWS for panel in VIEWS[word](layer, example)]
    return side_by_side(panels[:MOST])


# What is shown


def _kernels(layer: Any, example: Example) -> Iterator[Panel]:
    yield from (Panel(plane, f"kernel {taps(plane)}") for plane in different(layer.effective_kernel(), 4))


def _taken(layer: Any, example: Example) -> Iterator[Panel]:
    kernel = layer.effective_kernel()
    wanted = wave(kernel.shape[-2:])
    yield Panel(wanted.numpy(), f"asked for {taps(wanted)}")
    layer.take(wanted.expand(kernel.shape).contiguous())
    seen = different(layer.effective_kernel(), 4)
    yield from (Panel(plane, "taken", f"signed {wanted.abs().max().item()}") for plane in seen)


def _bank(layer: Any, example: Example) -> Iterator[Panel]:
    kernel = layer.kernel()[:8, :8]
    first, second, rows, columns = kernel.shape
    wide = torch.nn.functional.pad(kernel, (0, 1, 0, 1), value=math.nan)
    whole = wide.permute(0, 2, 1, 3).reshape(first * (rows + 1), second * (columns + 1))[:-1, :-1]
    colours = "complex" if kernel.is_complex() else "signed"
    yield Panel(whole.numpy(), f"{first} x {second} kernels {rows} x {columns}", colours)


def _impulses(layer: Any, example: Example) -> Iterator[Panel]:
    x = torch.zeros(example.inputs[0])
    rows, columns = (torch.arange(1, 6, 2) * n // 6 for n in x.shape[2:])
    x[:, :, rows[:, None], columns] = 1
    yield Panel(x[0, 0].numpy(), "bright pixels")
    y = levels(layer(x))[0] - levels(layer(torch.zeros_like(x)))[0]
    for plane in y[0, :3]:
        yield Panel(plane.numpy(), f"answer {taps(plane)}")


def _inverse(layer: Any, example: Example) -> Iterator[Panel]:
    y = torch.zeros(example.inputs[0])
    y[(..., *(n // 2 for n in y.shape[2:]))] = 1
    yield Panel(layer.inverse(y)[0, 0].abs().numpy(), "inverse of one pixel", "log")


def _field(layer: Any, example: Example) -> Iterator[Panel]:
    x = torch.randn(8, *example.inputs[0][1:], generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():
        field = tools.receptive_field(layer, x)
    if field.ndim == 2:
        half = tools.extent(field)
        yield Panel(cropped(field).numpy(), f"receptive field, half in {half} x {half}", "log")
    else:
        middle = [n // 2 for n in field.shape]
        yield Panel(field[(slice(None), slice(None), *middle[2:])].numpy(), "receptive field, first axes", "log")
        yield Panel(field[(*middle[:-2],)].numpy(), "last two axes", "log")


def _photo(layer: Any, example: Example) -> Iterator[Panel]:
    first, *rest = inputs(example)
    given, made = levels(first), [y for y in levels(layer(first, *rest)) if y.ndim > 3]  # an index is no picture
    yield from (Panel(x[0, 0].numpy(), f"photo {taps(x[0, 0])}", "grey") for x in given)
    planes = [y[0, c] for y in made for c in range(min(y.shape[1], max(1, 4 - len(given)) if len(made) == 1 else 1))]
    yield from (Panel(plane.numpy(), f"result {taps(plane)}", "grey") for plane in planes)


def _gate(layer: Any, example: Example) -> Iterator[Panel]:
    shape = example.inputs[0]
    x = photo(shape) + 0.1
    x = x * torch.linspace(0.2, 2, shape[1]).reshape(1, -1, *[1] * (len(shape) - 2))
    gate = layer(x) / x
    yield Panel(x[0, 0].numpy(), f"photo {taps(x[0, 0])}", "grey")
    if (gate.amax((2, 3)) - gate.amin((2, 3))).max() < 1e-5:
        side = math.isqrt(shape[1])
        yield Panel(
            gate[0, : side * side, 0, 0].reshape(side, side).numpy(), f"gates of {side * side} channels", "grey"
        )
    else:
        yield from (Panel(gate[0, c].numpy(), f"gate of channel {c}", "grey") for c in (0, shape[1] - 1))


def _omega(layer: Any, example: Example) -> Iterator[Panel]:
    shape = example.inputs[0]
    x = photo(shape) if len(shape) == 4 else torch.eye(shape[0])
    for share in (1.0, 0.5, 0.0):
        omega = torch.tensor([share, 1 - share]).expand(example.inputs[1])
        y = layer(x, omega)
        plane, colours = (y[0, 0], "grey") if y.ndim == 4 else ((y - layer(torch.zeros_like(x), omega)).T, "signed")
        yield Panel(plane.numpy(), f"omega = ({share:g}, {1 - share:g})", colours)


def _maps(layer: Any, example: Example) -> Iterator[Panel]:
    y = layer(torch.zeros(example.inputs[0]))
    yield from (Panel(plane.numpy(), "answer to zeros") for plane in y[0] if plane.abs().max() > 0)


def _coordinates(layer: Any, example: Example) -> Iterator[Panel]:
    lines = [torch.linspace(-1, 1, n) for n in example.inputs[0][2:]]
    y = layer(torch.stack(torch.meshgrid(*lines, indexing="ij"))[None])
    yield from (Panel(plane.numpy(), f"output {c}") for c, plane in enumerate(y[0]))


def _matrix(layer: Any, example: Example) -> Iterator[Panel]:
    matrix = layer.effective_matrix(example.inputs[0][1:])
    yield Panel(matrix.numpy(), "matrix {} x {}".format(*matrix.shape))


def _rows(layer: Any, example: Example) -> Iterator[Panel]:
    x = torch.zeros(example.inputs[0])
    for channel in range(x.shape[1]):
        x[0, channel, 3 + 5 * channel] = 1
    for plane, name in ((x[0], "impulses"), (layer(x)[0], "result")):
        tall = plane.repeat_interleave(max(1, plane.shape[1] // plane.shape[0]), 0)
        yield Panel(tall.numpy(), f"{name}, time to the right")


def _series(layer: Any, example: Example) -> Iterator[Panel]:
    length = example.inputs[0][-1]
    t = torch.arange(length)
    x = torch.sin(2 * math.pi * t / 24) + torch.sin(2 * math.pi * t / 8) / 2
    y = layer(x.reshape(example.inputs[0]))
    for values, name in ((x, "periods 24 and 8"), (y.flatten(), "result")):
        yield Panel(values.numpy(), name, "curve")


def _graph(layer: Any, example: Example) -> Iterator[Panel]:
    y = layer(torch.linspace(-3, 3, example.inputs[0][0]))
    yield Panel(y.numpy(), "results for numbers from -3 to 3", "curve")


def _plane(layer: Any, example: Example) -> Iterator[Panel]:
    rows, columns = example.inputs[0][2:]
    z = torch.complex(
        torch.linspace(-2, 2, columns).expand(rows, -1), torch.linspace(2, -2, rows)[:, None].expand(-1, columns)
    )
    yield Panel(z.numpy(), "numbers z, ±2 ± 2i", "complex")
    yield Panel(layer(z.reshape(example.inputs[0]))[0, 0].numpy(), "results", "complex")


def _cloud(layer: Any, example: Example) -> Iterator[Panel]:
    z = torch.randn(example.inputs[0], dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    z = 1 + torch.complex(1.6 * z.real + 0.8 * z.imag, 0.6 * z.real - 0.5 * z.imag)
    for values, name in ((z, "before, ±4"), (layer.train()(z), "after, ±4")):
        yield Panel(values.flatten().numpy(), name, "points")


VIEWS: dict[str, Callable[[Any, Example], Iterator[Panel]]] = {
    "kernels": _kernels, "taken": _taken, "bank": _bank, "impulses": _impulses, "inverse": _inverse, "field": _field,
    "photo": _photo, "gate": _gate, "omega": _omega, "maps": _maps, "coordinates": _coordinates, "matrix": _matrix,
    "rows": _rows, "series": _series, "graph": _graph, "plane": _plane, "cloud": _cloud,
}  # fmt: skip


# What is looked at


def photo(shape: tuple[int, ...]) -> Tensor:
    """The sample photo as a square, grey, in [0, 1], in all channels of a batch of that shape."""
    grey = torch.from_numpy(data.photo().mean(axis=-1).astype(np.float32) / 255)[None, None, :, 75:375]
    return torch.nn.functional.interpolate(grey, shape[-2:], mode="area").expand(shape).contiguous()


def inputs(example: Example) -> tuple[Any, ...]:
    """The photo in place of the first input, or of all tensors of its list."""
    first, *rest = example.inputs
    made = [photo(shape) for shape in first] if isinstance(first, list) else photo(first)
    return (made, *(torch.ones(shape) for shape in rest))


def cropped(field: Tensor) -> Tensor:
    """The square around the middle outside of which a receptive field is below the floor."""
    rows, columns = (torch.arange(n) - n // 2 for n in field.shape)
    far = torch.maximum(rows.abs()[:, None], columns.abs())[field > FLOOR].amax().item() + 1
    return field[rows.abs() <= far][:, columns.abs() <= far]


def smoothed(layer: Any) -> None:
    """Put waves of many directions in the place of random kernels, for the eye to tell them apart."""
    for values in layer.parameters():
        if values.ndim >= 4 and min(values.shape[-2:]) > 1:
            flat = values.view(-1, *values.shape[-2:])
            for n, plane in enumerate(flat):
                plane.copy_(wave(plane.shape, 0.6 + 2.4 * n) * (1j ** (n / 2) if plane.is_complex() else 1))


def levels(values: Any) -> list[Tensor]:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def wave(taps: Any, angle: float = 0.6) -> Tensor:
    """An oblique wave that fades: a kernel that no class of structured ones holds."""
    rows, columns = (torch.linspace(-1, 1, n) for n in taps)
    y, x = rows[:, None], columns[None]
    return torch.exp(-2.5 * (x**2 + 1.5 * y**2)) * torch.cos(5 * (x * math.cos(angle) + y * math.sin(angle)) - 0.5)


def different(kernel: Tensor, most: int) -> list[np.ndarray]:
    """The first planes of a kernel that are not equal."""
    found: list[Tensor] = []
    for plane in kernel.reshape(-1, *kernel.shape[-2:]):
        if all((plane - other).abs().max() > 1e-6 for other in found) and len(found) < most:
            found.append(plane)
    return [plane.numpy() for plane in found]


def taps(values: Any) -> str:
    return " x ".join(map(str, values.shape))


# How it is drawn


def side_by_side(panels: list[Panel]) -> Image.Image:
    """The panels in a row, each above its caption and its scale."""
    drawn = [colour(panel) for panel in panels]
    font = ImageFont.load_default(size=10)
    widths = [max(image.width, *(math.ceil(font.getlength(line)) for line in lines)) for image, lines in drawn]
    whole = Image.new("RGB", (sum(widths) + GAP * (len(widths) - 1), HEIGHT + 2 * LINE + 4), LIGHT)
    pen, left = ImageDraw.Draw(whole), 0
    for (image, lines), width in zip(drawn, widths, strict=True):
        whole.paste(image, (left, (HEIGHT - image.height) // 2))
        for n, line in enumerate(lines):
            pen.text((left, HEIGHT + 2 + n * LINE), line, fill=DARK, font=font)
        left += width + GAP
    return whole


def colour(panel: Panel) -> tuple[Image.Image, tuple[str, str]]:
    """The numbers as an image of at most HEIGHT rows, framed, with caption and scale."""
    values, (kind, _, given) = panel.values, panel.colours.partition(" ")
    if kind in ("curve", "points"):
        return (curve if kind == "curve" else points)(values), (panel.caption, scale_of(values))
    if kind == "signed":
        size = float(given or np.nanmax(np.abs(values)) or 1.0)
        rgb, scale = signed(values / size), f"blue -{size:.2g}, red {size:.2g}"
    elif kind == "grey":
        low, high = float(values.min()), float(values.max())
        rgb, scale = np.repeat((values - low)[..., None] / (high - low or 1.0), 3, -1), f"{low:.2g} … {high:.2g}"
    elif kind == "log":
        t = 1 - np.log10(np.maximum(values / (values.max() or 1.0), FLOOR)) / math.log10(FLOOR)
        rgb, scale = heat(t), f"black 1, white {FLOOR:g}, {taps(values)}"
    else:
        size = float(np.nanmax(np.abs(values))) or 1.0
        rgb, scale = wheel(values / size), f"full colour {size:.2g}"
    rgb = np.where(np.isnan(rgb), 0.85, rgb)
    pixels = (np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    rows, columns = pixels.shape[:2]
    zoom = (HEIGHT - 2) / rows
    image = Image.fromarray(pixels).resize((round(columns * zoom), HEIGHT - 2), Image.Resampling.BOX)
    framed = Image.new("RGB", (image.width + 2, image.height + 2), (170, 170, 170))
    framed.paste(image, (1, 1))
    return framed, (panel.caption, scale)


def scale_of(values: np.ndarray) -> str:
    if np.iscomplexobj(values):
        return f"mean {values.mean():.2f}"
    return f"{values.min():.2g} … {values.max():.2g}"


def signed(t: np.ndarray) -> np.ndarray:
    """Red above zero, blue below, white at zero."""
    t = np.clip(t, -1, 1)[..., None]
    return np.where(t >= 0, 1 - t * np.array([0.28, 0.84, 0.88]), 1 + t * np.array([0.86, 0.62, 0.22]))


def heat(t: np.ndarray) -> np.ndarray:
    """White, orange, dark red, black."""
    marks = np.array([[1, 1, 1], [0.99, 0.85, 0.55], [0.93, 0.45, 0.25], [0.6, 0.1, 0.3], [0.05, 0.0, 0.15]])
    at = np.linspace(0, 1, len(marks))
    return np.stack([np.interp(t, at, marks[:, c]) for c in range(3)], -1)


def wheel(z: np.ndarray) -> np.ndarray:
    """The angle as a colour, white at zero."""
    turn = np.angle(z)[..., None] + np.array([0, -2, 2]) * math.pi / 3
    return 1 - np.minimum(np.abs(z), 1)[..., None] ** 0.5 * (0.5 - 0.5 * np.cos(turn)) ** 0.8


def curve(values: np.ndarray) -> Image.Image:
    image = Image.new("RGB", (2 * HEIGHT, HEIGHT), LIGHT)
    pen = ImageDraw.Draw(image)
    size = np.abs(values).max() or 1.0
    pen.line([(0, HEIGHT // 2), (2 * HEIGHT, HEIGHT // 2)], fill=(200, 200, 200))
    across = np.linspace(2, 2 * HEIGHT - 3, len(values))
    pen.line(list(zip(across, HEIGHT / 2 - values / size * (HEIGHT / 2 - 6), strict=True)), fill=(180, 30, 40), width=2)
    return image


def points(values: np.ndarray) -> Image.Image:
    image = Image.new("RGB", (HEIGHT, HEIGHT), LIGHT)
    pen = ImageDraw.Draw(image)
    half = HEIGHT // 2
    pen.line([(0, half), (HEIGHT, half)], fill=(200, 200, 200))
    pen.line([(half, 0), (half, HEIGHT)], fill=(200, 200, 200))
    for z in values:
        x, y = half + z.real / 4 * half, half - z.imag / 4 * half
        pen.point((x, y), fill=(180, 30, 40))
    return image
