"""Run the contract suite on every layer and write docs/operators.md from the classes and from what the suite found.

    python docs/make_operators.py           several minutes; exit code 1 if a check failed
    python docs/make_operators.py --check   seconds: whether the page names the layers, papers and claims that the classes name

Pictures are drawn from each layer's largest example with two axes, as training would start: the first effective kernels of a
layer that is one convolution, the answer to one bright pixel of a linear layer, else the effect on the sample photo.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils import _pytree as pytree

from faltung import data, nn
from faltung.nn.base import LINEAR, SHIFT_INVARIANT
from faltung.testing.layers import Case, applicable

HERE = Path(__file__).parent
PICTURES = HERE / "pictures" / "operators"
HEIGHT, CANVAS = 96, 33

INTRODUCTION = """# Operators

Every layer of `faltung.nn`, the paper it follows and what the contract suite (`faltung.testing.layers`) found on its examples.
`python docs/make_operators.py` writes this page; every ✓ is a check that ran and held, on every example of that layer.

**Contract**: `repr` rebuilds, state dict, copies and pickles; `shapes` and meta tensors; the definition in float64 and float32;
finite differences; the parameter formula; every parameter trains; the same bits twice; bfloat16 and float16 under autocast; empty
batches, one pixel, prime sizes; wrong inputs refused by name; `torch.compile(fullgraph=True)`; `torch.export`; symmetries and
bounds on the gain as declared.

**Claims**: *linear* (superposition, effective matrix), *shift-invariant* (equals the plain convolution with `effective_kernel()`;
`freeze()` gives torch's own layer, also through ONNX), *per-sample* (no sample sees its batch), *invertible* (`inverse`,
log-determinant), *norm-preserving*, *causal*.
"""


def suite(kind: type) -> tuple[int, int, list[str], set[str], set[str]]:
    """(checks that held, checks, what failed, claims of all examples, names of symmetries)."""
    held, failed, claims, symmetries = 0, [], set(), set()
    for case in (Case(kind, example) for example in kind.examples()):
        layer = case.layer()
        claims |= layer.claims
        symmetries |= {symmetry.name for symmetry in layer.symmetries()}
        for name, check in applicable(case).items():
            try:
                check(case)
                held += 1
            except AssertionError as error:
                failed.append(f"{name} of {case.text}: {error}")
    return held, held + len(failed), failed, claims, symmetries


def line(kind: type) -> tuple[list[str], list[str]]:
    """The cells of one layer, and what failed."""
    held, checks, failed, claims, symmetries = suite(kind)
    promises = ", ".join(f"{word} ✓" for word in sorted(claims) + sorted(symmetries))
    contract = f"{'✓' if held == checks else '✗'} {held} of {checks}"
    if kind.eager_only:
        contract += f"; not traced: {kind.eager_only}"
    draw(kind)
    cells = [
        f"`{label(kind)}`",
        kind.summary,
        kind.source,
        promises,
        contract,
        kind.cost,
        f"![{kind.name}]({place(kind)})",
    ]
    return cells, failed


def label(kind: type) -> str:
    room = "complex." if ".complex." in kind.__module__ else ""
    dims = f" {kind.dims[0]}–{kind.dims[-1]}d" if len(kind.dims) > 1 else f"{kind.dims[0]}d" if kind.dims else ""
    return f"{room}{kind.__name__}{dims}"


def place(kind: type) -> str:
    return f"pictures/operators/{kind.name}.png"


def draw(kind: type) -> None:
    """Keep the layer's picture."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    shown = [strip(values) for values in portrait(kind)]
    whole = np.concatenate([np.pad(p, ((0, 0), (0, 4), (0, 0)), constant_values=255) for p in shown], axis=1)[:, :-4]
    Image.fromarray(whole).quantize(64).save(PICTURES / f"{kind.name}.png", optimize=True)


@torch.no_grad()
def portrait(kind: type) -> list[np.ndarray]:
    """One to four planes of numbers that show what the layer does."""
    found = [Case(kind, example) for example in kind.examples()]
    flat = [case for case in found if _spatial(case) == 2] or found
    case = max(flat, key=lambda case: _extent(case))
    layer = case.layer(torch.float32, stir=False)
    if SHIFT_INVARIANT in layer.claims:
        kernel = layer.effective_kernel()
        kernel = kernel.abs() if kernel.is_complex() else kernel
        planes = kernel.reshape(-1, *kernel.shape[2:])[:4]
        return [_plane(plane) for plane in planes.numpy()]
    inputs = case.inputs(torch.float32)
    if LINEAR in layer.claims or _spatial(case) != 2:
        first = pytree.tree_leaves(inputs)[0]
        x = torch.zeros_like(first)
        x[(slice(None), 0, *(n // 2 for n in first.shape[2:]))[: first.ndim]] = 1
        return [_plane(x[0, 0].abs().numpy()), _plane(_mean(_call(layer, x, inputs)))]
    photo = torch.from_numpy(data.photo().mean(axis=-1).astype(np.float32) / 255)
    height, width = inputs[0].shape[-2:] if isinstance(inputs[0], torch.Tensor) else (CANVAS, CANVAS)
    crop = torch.nn.functional.interpolate(photo[None, None, :, 75:375], (height, width), mode="area")
    first = pytree.tree_map(
        lambda a: torch.nn.functional.interpolate(crop, a.shape[-2:], mode="area").expand(a.shape).to(a.dtype),
        inputs[0],
    )
    seen = pytree.tree_leaves(first)[0]
    return [_plane(seen[0, 0].abs().numpy()), _plane(_mean(_call(layer, first, inputs)))]


def _call(layer, first, inputs):
    return pytree.tree_leaves(layer(first, *inputs[1:]))[0]


def _mean(y: torch.Tensor) -> np.ndarray:
    y = y[0] if y.ndim < 3 else y[0].abs().mean(0) if y.is_complex() else y[0].mean(0)
    return y.float().numpy()


def _spatial(case: Case) -> int:
    return (
        len(pytree.tree_leaves(case.shapes(), is_leaf=lambda s: isinstance(s, tuple) and isinstance(s[0], int))[0]) - 2
    )


def _extent(case: Case) -> int:
    size = getattr(case.layer(torch.float32, stir=False), "kernel_size", None)
    return int(np.prod(size)) if isinstance(size, tuple) else int(np.prod(pytree.tree_leaves(case.shapes())))


def _plane(values: np.ndarray) -> np.ndarray:
    """Two axes of however many there are: the middle of the leading ones."""
    values = np.atleast_2d(values)
    while values.ndim > 2:
        values = values[values.shape[0] // 2]
    return values


def strip(values: np.ndarray) -> np.ndarray:
    """Numbers as pixels of one height: red above zero, blue below, white at zero."""
    rows, columns = values.shape
    zoom = max(1, HEIGHT // max(rows, columns))
    size = np.abs(values).max() or 1.0
    t = np.clip(values / size, -1, 1)[..., None]
    colours = np.where(t >= 0, 255 - t * np.array([75, 205, 225]), 255 + t * np.array([215, 150, 50]))
    big = colours.repeat(zoom, 0).repeat(zoom, 1).astype(np.uint8)[:HEIGHT, : 3 * HEIGHT]
    return np.pad(big, ((0, HEIGHT - big.shape[0]), (0, 0), (0, 0)), constant_values=255)


def families() -> Iterable[tuple[str, tuple[type, ...]]]:
    """(heading, layers) of every family."""
    yield "The plain convolution and its transpose.", tuple(k for k in nn.ALL if k.__module__ == "faltung.nn.conv")
    for family in nn.FAMILIES:
        if family.ALL:
            yield family.__doc__.partition("\n")[0], family.ALL


def main(check: bool) -> int:
    target = HERE / "operators.md"
    if check:
        text = target.read_text()
        missing = [
            kind.__name__ for kind in nn.ALL if label(kind) not in text or kind.source.replace("|", "\\|") not in text
        ]
        print("out of date: " + (", ".join(missing) or "none"))
        return 1 if missing else 0
    parts, wrong = [INTRODUCTION], []
    for heading, kinds in families():
        lines = []
        for kind in kinds:
            cells, failed = line(kind)
            lines.append(cells)
            wrong += failed
            print(cells[0], cells[4], *failed, sep="\n  ", file=sys.stderr)
        header = (
            "operator",
            "what it does",
            "paper",
            "claims and symmetries",
            "contract",
            "multiplications",
            "picture",
        )
        body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in (header, *lines)]
        parts.append("\n".join([f"## {heading}\n", body[0], "|" + "---|" * len(header), *body[1:]]))
    target.write_text("\n\n".join(part.strip() for part in parts) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
