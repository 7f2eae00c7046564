"""The house keeps its own rules: importing is light and silent, files are short, named for what they hold, and finished."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import faltung

SOURCE = Path(faltung.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("torch", "numba", "scipy.signal", "pandas")
VAGUE = {"utils", "misc", "helpers", "core"}
UNFINISHED = re.compile(r"\b(NotImplementedError|TODO|FIXME)\b")

# Reports what the import loaded and each file or folder that it opened for writing or made. Python's own bytecode cache is
# switched off by -B, so that whatever is seen was our doing.
WATCHED = """
import os, sys
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
written = []
def watch(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & WRITING:
        written.append(str(args[0]))
    elif event in ("os.mkdir", "os.rename", "os.remove"):
        written.append(str(args[0]))
sys.addaudithook(watch)
{statement}
sys.stdout.flush()
os.write({descriptor}, repr((sorted(sys.modules), written)).encode())
"""


def fresh(*arguments, **options):
    """Python in a new process that finds this faltung, with its output captured."""
    paths = [str(SOURCE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        **options,
    )


def watched(statement, folder):
    """(modules loaded, files written, text printed) of one statement in a fresh interpreter."""
    report = folder / "report"
    with report.open("wb") as out:
        # The report leaves by a descriptor of its own, for stdout and stderr themselves are under test.
        script = WATCHED.format(statement=statement, descriptor=out.fileno())
        done = fresh("-c", script, pass_fds=[out.fileno()], cwd=folder)
    modules, written = ast.literal_eval(report.read_text())
    return modules, written, done.stdout + done.stderr


def lengthy(path, text):
    """A sentence if the file is longer than its room allows, else None."""
    # A kernel is kept whole, whatever its length in unrolled cases.
    limit = 600 if "kernels" in path.parts else 400
    lines = len(text.splitlines())
    return f"{path}: {lines} lines, at most {limit} are allowed; split it" if lines > limit else None


def unfinished(path, text):
    """A sentence for every word of unfinished work."""
    return [f"{path}:{n}: {line.strip()}" for n, line in enumerate(text.splitlines(), 1) if UNFINISHED.search(line)]


def undocumented(path, text):
    """The public functions and classes at the top of a module that have no docstring."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    named = [node for node in ast.parse(text).body if isinstance(node, kinds) and not node.name.startswith("_")]
    return [f"{path}:{node.lineno}: {node.name}" for node in named if not ast.get_docstring(node)]


def each(check):
    """What a check says of every source file, named by its path inside the package."""
    return [check(path.relative_to(SOURCE), path.read_text(encoding="utf-8")) for path in FILES]


def test_import_is_light_and_silent(tmp_path):
    modules, written, printed = watched("import faltung", tmp_path)
    assert "faltung" in modules
    assert [name for name in HEAVY if name in modules] == []
    assert written == []
    assert printed == ""


def test_the_watch_sees_what_it_watches_for(tmp_path):
    modules, written, printed = watched("import scipy.signal; print('hello'); open('made', 'w').close()", tmp_path)
    assert "scipy.signal" in modules
    assert "made" in written
    assert printed == "hello\n"


def test_import_takes_under_three_tenths_of_a_second():
    def seconds():
        # The last line of -X importtime is the package itself; its second column is cumulative, in microseconds, and leaves
        # out the start of the interpreter.
        last = fresh("-X", "importtime", "-c", "import faltung").stderr.splitlines()[-1]
        _, cumulative, name = last.split("|")
        assert name.strip() == "faltung"
        return int(cumulative) * 1e-6

    assert min(seconds() for _ in range(3)) < 0.3


def test_files_are_short():
    assert len(FILES) > 10
    assert [said for said in each(lengthy) if said] == []


def test_modules_are_named_for_what_they_hold():
    assert [str(path.relative_to(SOURCE)) for path in FILES if {path.stem, path.parent.name} & VAGUE] == []


def test_nothing_is_left_unfinished():
    assert [line for lines in each(unfinished) for line in lines] == []


def test_public_functions_and_classes_have_docstrings():
    assert [line for lines in each(undocumented) for line in lines] == []


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        (lengthy, "x = 1\n" * 401, "x = 1\n" * 400),
        (unfinished, "raise NotImplementedError\n", "raise ValueError\n"),
        (unfinished, "# TODO later\n", "# to do: nothing\n"),
        (undocumented, "def f():\n    return 1\n", "def _f():\n    return 1\n"),
        (undocumented, "class C:\n    x = 1\n", 'class C:\n    """Held."""\n'),
    ],
)
def test_the_checks_bite(check, wrong, right):
    assert check(Path("room.py"), wrong)
    assert not check(Path("room.py"), right)
