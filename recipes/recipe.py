"""What all recipes share: a fixed seed, two threads, a clock, a table that is printed and kept.

A recipe is a script with `main(quick)`. It trains or measures something of a paper at toy scale, prints what came beside what the
paper claims, and writes the page `recipes/results/<name>.md`. `--quick` runs the same code for seconds and writes nothing: that
is what the tests call.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def run(name: str, main: Callable[[bool], str]) -> None:
    """Call `main`, print the Markdown that it returns and keep it, unless the command line says --quick."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--quick", action="store_true", help="the same for seconds, nothing is written")
    quick = parser.parse_args().quick
    torch.manual_seed(0)
    torch.set_num_threads(2)
    start = time.perf_counter()
    text = main(quick).strip()
    text += f"\n\n`python recipes/{name}.py`, {time.perf_counter() - start:.0f} s on two cores.\n"
    print(text)
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.md").write_text(text)


def table(header: Iterable[str], lines: Iterable[Iterable[Any]]) -> str:
    """A Markdown table."""
    names = list(header)
    body = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*body, *("| " + " | ".join(map(str, line)) + " |" for line in lines)])


def digits(quick: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The 1,797 handwritten digits of UCI, 8 × 8 in [0, 1]: (images, labels) to train on and to test on, 80 : 20."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(found.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    order = order[:400] if quick else order
    cut = len(order) * 4 // 5
    return images[order[:cut]], labels[order[:cut]], images[order[cut:]], labels[order[cut:]]
