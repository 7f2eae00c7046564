"""Run the contract suite on every layer and write docs/operators.md from the classes and from what the suite found.

    python docs/make_operators.py                   many minutes; exit code 1 if a check failed
    python docs/make_operators.py --only A B        these classes anew, and those that the page does not name; the rest stays
    python docs/make_operators.py --pictures        a minute: the pictures alone
    python docs/make_operators.py --check           seconds: whether the page names the layers and papers that the classes name

Pictures are drawn from the portraits that the classes name, see docs/portraits.py.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from portraits import picture

from faltung import nn
from faltung.testing.layers import Case, applicable

HERE = Path(__file__).parent
PICTURES = HERE / "pictures" / "operators"

INTRODUCTION = """# Operators

Every layer of `faltung.nn`, the paper it follows and what the contract suite (`faltung.testing.layers`) found on its examples.
`python docs/make_operators.py` writes this page; every ✓ is a check that ran and held, on every example of that layer.

**Contract**: `repr` rebuilds, state dict, copies and pickles; `shapes` and meta tensors; the definition in float64 and float32,
with gradients and without, channels first or innermost in memory; finite differences; the parameter formula; every parameter
trains; the same bits twice; bfloat16 and float16 under autocast; empty batches, one pixel, prime sizes; wrong inputs refused by
name; `torch.compile(fullgraph=True)`; `torch.export`; symmetries and bounds on the gain as declared.

**Claims**: *linear* (superposition, effective matrix), *shift-invariant* (equals the plain convolution with `effective_kernel()`;
`freeze()` gives torch's own layer, also through ONNX), *per-sample* (no sample sees its batch), *invertible* (`inverse`,
log-determinant), *norm-preserving*, *causal*.

**Pictures** show layers of realistic size as drawn from a fixed seed, without training; every panel says what it shows and what
its colours mean. *Taken* is the nearest kernel that a class holds to the one asked for (`take`); *receptive field* is how much the
middle of the result moves with each pixel (`faltung.tools.receptive_field`).
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
    cells = [
        f"`{label(kind)}`",
        kind.summary,
        kind.source,
        promises,
        contract,
        kind.cost,
        draw(kind),
    ]
    return cells, failed


def label(kind: type) -> str:
    room = "complex." if ".complex." in kind.__module__ else ""
    dims = f" {kind.dims[0]}–{kind.dims[-1]}d" if len(kind.dims) > 1 else f"{kind.dims[0]}d" if kind.dims else ""
    return f"{room}{kind.__name__}{dims}"


def place(kind: type) -> str:
    return f"pictures/operators/{kind.name}.png"


def draw(kind: type) -> str:
    """Keep the layer's picture; what the page shows in its cell."""
    made = picture(kind)
    if made is None:
        return "—"
    PICTURES.mkdir(parents=True, exist_ok=True)
    made.save(HERE / place(kind), optimize=True)
    return f"![{kind.name}]({place(kind)})"


def families() -> Iterable[tuple[str, tuple[type, ...]]]:
    """(heading, layers) of every family."""
    yield "The plain convolution and its transpose.", tuple(k for k in nn.ALL if k.__module__ == "faltung.nn.conv")
    for family in nn.FAMILIES:
        if family.ALL:
            yield family.__doc__.partition("\n")[0], family.ALL


def rows(text: str) -> dict[str, str]:
    """The line of every layer that a page holds, by its label."""
    return {row.split(" | ")[0][2:]: row for row in text.splitlines() if row.startswith("| `")}


def stale(text: str) -> list[type]:
    """Layers whose line is missing or names another paper or another task."""
    held = rows(text)
    return [
        kind
        for kind in nn.ALL
        if not all(escaped(cell) in held.get(f"`{label(kind)}`", "") for cell in (kind.source, kind.summary))
    ]


def escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def written(kinds: Iterable[type], text: str) -> tuple[str, list[str]]:
    """The page with the lines of these layers made anew and the others as they stand in the text; and what failed."""
    held, anew, parts, wrong = rows(text), set(kinds), [INTRODUCTION], []
    for heading, family in families():
        lines = []
        for kind in family:
            if kind not in anew:
                lines.append(held[f"`{label(kind)}`"])
                continue
            cells, failed = line(kind)
            lines.append("| " + " | ".join(map(escaped, cells)) + " |")
            wrong += failed
            print(cells[0], cells[4], *failed, sep="\n  ", file=sys.stderr)
        names = "operator", "what it does", "paper", "claims and symmetries", "contract", "multiplications", "picture"
        header = "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|"
        parts.append("\n".join([f"## {heading}\n", header, *lines]))
    return "\n\n".join(part.strip() for part in parts) + "\n", wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="*", metavar="CLASS", help="these classes, and those that the page does not name"
    )
    parser.add_argument("--pictures", action="store_true", help="draw the pictures, nothing else")
    parser.add_argument("--check", action="store_true", help="whether the page names all layers")
    asked = parser.parse_args()
    target = HERE / "operators.md"
    if asked.pictures:
        for kind in nn.ALL:
            draw(kind)
        return 0
    text = target.read_text()
    missing = stale(text)
    if asked.check:
        print("out of date: " + (", ".join(kind.__name__ for kind in missing) or "none"))
        return 1 if missing else 0
    kinds = nn.ALL if asked.only is None else [k for k in nn.ALL if k.__name__ in asked.only or k in missing]
    if unknown := set(asked.only or ()) - {kind.__name__ for kind in kinds}:
        parser.error(f"no layers: {', '.join(sorted(unknown))}")
    page, wrong = written(kinds, text)
    target.write_text(page)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
