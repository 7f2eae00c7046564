"""`faltung grep` prints what grep prints, byte for byte, with grep's exit codes."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from faltung.cli import grep as command
from faltung.cli import main

FILES = {
    "a.txt": "foo bar\nbaz\n\nfoobar foo\nÄrger föö\nend",
    "b.txt": "nothing\nhere\n",
    "d/c.txt": "one foo\ntwo\n",
    "d/empty": "",
    "d/e/deep.txt": "a foo\n",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ours(capfdbinary):
    def run(*words: str) -> tuple[int, bytes, bytes]:
        code = main(["grep", *words])
        sys.stdout.flush()
        said = capfdbinary.readouterr()
        return code, said.out, said.err

    return run


def theirs(*words: str) -> tuple[int, bytes]:
    done = subprocess.run(
        ["grep", "-P", *words], capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, check=False
    )
    return done.returncode, done.stdout


CALLS = [
    "foo a.txt", "-n foo a.txt", "-c foo a.txt b.txt", "-o f.. a.txt", "-v foo a.txt", "-v -n foo a.txt", "-i ÄRGER a.txt",
    "-n ^$ a.txt", "-x baz a.txt", "-q foo a.txt", "zzz a.txt", "-o -n o* a.txt", "-v -c o a.txt b.txt", "-l o a.txt b.txt d/empty",
    "-n end$ a.txt", "-h foo a.txt d/c.txt", "-H foo a.txt", "-n \\bfoo\\b a.txt", "-o [a-zö]+ a.txt", "foo missing a.txt",
    "-r foo d", "-r -l foo d", "-r -c foo d", "foo d", "-q foo missing a.txt", "-v . a.txt", "x d/empty", "-v x d/empty",
    "-i -o FÖ+ a.txt",
]  # fmt: skip


@pytest.mark.skipif(shutil.which("grep") is None, reason="no grep to compare with")
@pytest.mark.parametrize("call", CALLS)
def test_it_does_what_grep_does(call, ours):
    words = call.split()
    code, out, _ = ours(*words)
    wanted = theirs(*words)
    if "-r" in words:  # folders are walked in any order
        assert (code, sorted(out.splitlines())) == (wanted[0], sorted(wanted[1].splitlines()))
    else:
        assert (code, out) == wanted


@pytest.mark.skipif(shutil.which("grep") is None, reason="no grep to compare with")
def test_random_lines_are_those_of_grep(ours, tmp_path, monkeypatch):
    r = Random(0)
    monkeypatch.setattr(command, "PIECE", 64)  # many pieces, lines longer than one among them
    for pattern in ("a+b", "(ab|ba)+$", "^b?a", "[^a]{3}", "b{100}", "a.b|ba", "^$"):
        lines = ["".join(r.choice("aabb \tä") for _ in range(r.choice((0, 3, 9, 200)))) for _ in range(80)]
        (tmp_path / "r").write_text("\n".join(lines) + r.choice(("", "\n")), encoding="utf-8")
        for options in (["-n"], ["-c"], ["-v", "-n"], ["-v", "-c"]):
            assert ours(*options, pattern, "r")[:2] == theirs(*options, pattern, "r"), (pattern, options)


def test_bytes_that_are_no_text_come_out_as_they_went_in(ours, tmp_path):
    (tmp_path / "latin").write_bytes(b"caf\xe9 foo\nb\xe9b\n")
    (tmp_path / "binary").write_bytes(b"x\0foo\nfoo\n")
    assert ours("foo", "latin")[:2] == (0, b"caf\xe9 foo\n")
    assert ours("b[^a]b", "latin")[:2] == (0, b"b\xe9b\n")
    assert ours("bäb", "latin")[0] == 1
    assert ours("foo", "binary")[:2] == (0, b"Binary file binary matches\n")
    assert ours("-a", "foo", "binary")[:2] == (0, b"x\0foo\nfoo\n")
    assert ours("-c", "foo", "binary")[:2] == (0, b"2\n")


def test_weights_stand_before_the_line(ours):
    assert ours("--weight", "count", "-n", "(o|oo)+", "a.txt")[:2] == (0, b"1:2:foo bar\n4:2:foobar foo\n")
    assert ours("--weight", "min-plus", "-o", "f..", "a.txt")[1].splitlines()[0] == b"0.0:foo"
    code, _, error = ours("--weight", "nothing", "a", "a.txt")
    assert code == 2
    assert b"one of" in error


def test_mistakes_are_told_with_a_caret_and_code_2(ours):
    code, out, error = ours("a(b", "a.txt")
    assert (code, out) == (2, b"")
    assert error.decode().splitlines()[-1].strip() == "^"
    code, _, error = ours("foo", "d")
    assert (code, error) == (2, b"faltung: d: is a folder; add -r to search in it\n")
    assert ours("foo", "missing", "a.txt")[2] == b"faltung: missing: no such file or directory\n"


def test_the_input_is_searched_without_files(ours, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"one\nfoo\n")))
    assert ours("-n", "foo")[:2] == (0, b"2:foo\n")


def test_a_line_of_progress_for_large_trees(monkeypatch):
    told = []
    monkeypatch.setattr(command, "MANY", 100)
    monkeypatch.setattr(
        "sys.stderr", SimpleNamespace(isatty=lambda: True, write=told.append, flush=lambda: None, encoding="utf-8")
    )
    paths = [Path(str(n)) for n in range(300)]
    assert list(command._shown(iter(paths))) == paths
    assert "files searched" in "".join(told)
