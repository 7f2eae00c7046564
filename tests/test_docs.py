"""What the pages promise: the README's examples run, the examples run, tables are those of the classes, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_has_five_examples() -> None:
    assert len(BLOCKS) == 5
    assert all("assert" in block for block in BLOCKS)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_readme_example_runs(number: int, capsys: pytest.CaptureFixture) -> None:
    exec(compile(BLOCKS[number], f"README example {number + 1}", "exec"), {"__name__": "__readme__"})


CODE = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES[2:]
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL))
    if "assert" in code
]


@pytest.mark.parametrize("code", CODE)
def test_a_page_is_right(code: str) -> None:
    """Code that ends with an assertion runs as it stands, from the top of its block."""
    exec(compile(code, "a page", "exec"), {"__name__": "__page__"})


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_example_runs_and_asserts(path: Path, tmp_path: Path) -> None:
    assert "assert " in path.read_text(), "an example ends with an assertion"
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_generated_tables_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_tables.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


def test_printed_plan_of_the_walk_is_the_real_one() -> None:
    """The walk's problem line is read, planned anew, and the table's methods and refusals are compared."""
    from faltung import Problem
    from faltung.planner import plan_problem

    text = (ROOT / "docs" / "walk.md").read_text()
    printed = re.search(r"```text\n(convolve .*?)```", text, flags=re.DOTALL)
    assert printed is not None
    lines = printed[1].splitlines()
    plan = plan_problem(Problem.parse(lines[0]))
    table = {
        line[:16].strip(): line[16:29].strip()
        for line in lines[8:]
        if line and not line.startswith(" ") and not re.match(r"part\b", line)
    }
    assert set(table) == {c.method.name for c in plan.candidates}
    for candidate in plan.candidates:
        assert (table[candidate.method.name] == "refuses") == (candidate.refusal is not None)
        if candidate.refusal is not None:
            assert candidate.refusal in text


def test_the_table_of_operators_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_operators.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_layer_written_in_the_pages_keeps_the_contract() -> None:
    import torch

    from faltung import nn
    from faltung.testing import layers

    (source,) = re.findall(r"```python\n(class Tied.*?)```", (ROOT / "docs" / "nn.md").read_text(), flags=re.DOTALL)
    namespace = {"nn": nn, "torch": torch, "__name__": "__page__"}
    exec(compile(source, "docs/nn.md", "exec"), namespace)
    (case,) = layers.cases([namespace["Tied"]])
    skipped = {"rebuilds"}  # needs a class that can be imported
    for name, check in layers.applicable(case).items():
        if name not in skipped:
            check(case)
