"""Compiled kernels equal their contracts, and their cache on disk survives everything that happens to files."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import faltung.kernels
from faltung.kernels import ALL, native, threads
from faltung.testing.kernels import check

CALL = """
import sys, numpy as np, faltung
y = faltung.convolve(np.arange(6.0), np.array([1.0, 2.0]), policy=faltung.Policy(only="direct"))
assert np.array_equal(y, np.convolve(np.arange(6.0), [1.0, 2.0])), y
print("numba" in sys.modules)
"""


# Those of Triton have processes of their own, in which it interprets them: tests/kernels/test_triton.py.
HERE = [kernel for kernel in ALL if kernel.tool != "triton"]


@pytest.mark.parametrize("kernel", HERE, ids=lambda kernel: f"{kernel.name}-{kernel.tool}")
def test_kernel_equals_its_contract(kernel):
    assert check(kernel) >= 18


@pytest.mark.parametrize("over", ["max-plus", "min-plus"])
@pytest.mark.parametrize("where", ["nowhere", "first", "last", "filter", "beyond"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_blocks_that_pick_a_value_hear_of_every_nan(over, where, bad):
    """The quick block does not look for NaN: one anywhere in operands or boundary must lead to the careful one."""
    random = np.random.default_rng(5)
    x, k = random.standard_normal((70, 300)).astype("float32"), random.standard_normal((5, 9)).astype("float32")
    if where in ("first", "last"):
        x.flat[0 if where == "first" else -1] = bad
        x[30, 40], x[30, 41] = np.inf, -np.inf
    k[2, 3] = bad if where == "filter" else k[2, 3]
    options = {"mode": "same", "boundary": bad if where == "beyond" else "constant", "over": over}
    ours, wanted = (faltung.convolve(x, k, **options, policy=faltung.Policy(only=m)) for m in ("blocks", "definition"))
    np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-6)


def test_every_operation_with_a_contract_is_registered():
    folder = Path(faltung.kernels.__file__).parent
    assert {path.parent.name for path in folder.glob("*/contract.py")} == {kernel.home for kernel in ALL}
    assert {f"{path.parent.name}/{path.stem}" for path in folder.glob("*/on_*.py")} == {
        f"{kernel.home}/on_{kernel.tool}" for kernel in ALL
    }


# -- the cache --------------------------------------------------------------------------------------------------------------


def start(folder, code=CALL, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "FALTUNG_CACHE_DIR": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(folder, code=CALL, **environment):
    process = start(folder, code, **environment)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    return out.strip()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache with one kernel, made once for this file."""
    folder = tmp_path_factory.mktemp("kernels")
    assert call(folder) == "True"
    return folder


def kernel_files(folder):
    return sorted(Path(folder).glob("*.bin"))


def test_a_second_process_loads_machine_code_without_numba(filled):
    before = {p: p.read_bytes() for p in kernel_files(filled)}
    assert len(before) == 1
    assert call(filled) == "False"
    assert {p: p.read_bytes() for p in kernel_files(filled)} == before
    assert not list(filled.glob("*.tmp"))


@pytest.mark.parametrize("damage", ["cut short", "one byte", "empty", "other file"])
def test_a_damaged_file_is_made_anew(filled, tmp_path, damage):
    (good,) = kernel_files(filled)
    blob = good.read_bytes()
    middle = len(blob) // 2
    bad = {
        "cut short": blob[:middle],
        "one byte": blob[:middle] + bytes([blob[middle] ^ 1]) + blob[middle + 1 :],
        "empty": b"",
        "other file": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }[damage]
    (tmp_path / good.name).write_bytes(bad)
    assert call(tmp_path) == "True"
    remade = (tmp_path / good.name).read_bytes()
    assert remade != bad
    assert hashlib.sha256(remade.split(b"\n", 2)[2]).hexdigest().encode() == remade.split(b"\n", 2)[1]
    assert call(tmp_path) == "False"


def test_a_folder_that_cannot_be_written_costs_a_compilation_only(tmp_path):
    file = tmp_path / "a file where the folder should be"
    file.write_text("")
    assert call(file / "kernels") == "True"
    assert call(file / "kernels") == "True"
    assert file.read_text() == ""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_folder_costs_a_compilation_only(tmp_path):
    tmp_path.chmod(0o500)
    assert call(tmp_path) == "True"
    assert not kernel_files(tmp_path)


def test_processes_may_fill_the_cache_at_once(tmp_path):
    both = [start(tmp_path) for _ in range(2)]
    for process in both:
        out, errors = process.communicate(timeout=120)
        assert (process.returncode, errors, out.strip()) == (0, "", "True")
    assert len(kernel_files(tmp_path)) == 1
    assert not list(tmp_path.glob("*.tmp"))
    assert call(tmp_path) == "False"


def test_an_import_compiles_nothing_and_writes_nothing(tmp_path):
    assert call(tmp_path, "import sys, faltung; faltung.convolve; print('numba' in sys.modules)") == "False"
    assert not list(tmp_path.iterdir())


def digest_of(monkeypatch, build, *constants):
    """The name of the file that a kernel would be kept under."""
    names = []
    monkeypatch.setattr(native, "_read", lambda blob: ("symbol", "i", b""))
    monkeypatch.setattr(native, "_link", lambda *parts: None)
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: names.append(path.name) or b"source" if path.suffix == ".bin" else b"source"
    )
    native._from_disk_or_compiler("stem", build, constants)
    monkeypatch.undo()
    return names[-1]


def a_build():
    raise AssertionError("the cache was to be read")


def test_the_key_holds_all_that_the_code_depends_on(monkeypatch):
    usual = digest_of(monkeypatch, a_build, "float32")
    assert digest_of(monkeypatch, a_build, "float32") == usual
    others = {digest_of(monkeypatch, a_build, "float64")}
    for name, value in (("_toolchain", lambda: "another version"), ("_source", lambda build: b"another source")):
        with monkeypatch.context() as patch:
            patch.setattr(native, name, value)
            others.add(digest_of(patch, a_build, "float32"))
    assert usual not in others
    assert len(others) == 3
    assert faltung.__version__ in native._toolchain()


def test_the_key_follows_the_processor(tmp_path):
    code = "from faltung.kernels import native; print(native._toolchain())"
    assert call(tmp_path, code) != call(tmp_path, code, NUMBA_CPU_NAME="generic")


def test_the_version_is_part_of_the_toolchain(tmp_path):
    code = "from faltung.kernels import native; native.__version__ = '9.9'; print(native._toolchain())"
    assert call(tmp_path, code).startswith("9.9|")


def test_code_for_a_plain_processor_gives_the_same_values(tmp_path):
    assert call(tmp_path, NUMBA_CPU_NAME="generic") == "True"
    assert call(tmp_path, NUMBA_CPU_NAME="generic") == "False"


# -- threads ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize(("count", "grain"), [(0, 1), (1, 1), (2, 1), (17, 1), (17, 5), (1000, 7)])
def test_pieces_cover_every_item_once(count, grain, workers):
    seen = np.zeros(count, int)

    def task(first, last):
        assert 0 <= first <= last <= count
        seen[first:last] += 1

    threads.spread(task, count, workers, grain)
    assert (seen == 1).all()


def test_the_first_error_of_a_piece_is_raised_after_all_have_ended():
    ended = []

    def task(first, last):
        ended.append(first)
        if first == 0:
            raise ValueError("a piece failed")

    with pytest.raises(ValueError, match="a piece failed"):
        threads.spread(task, 8, 2)
    assert len(ended) == 8
    ended.clear()
    threads.spread(lambda first, last: ended.append(first), 8, 2)  # the pool lives on
    assert len(ended) == 8


def test_a_call_from_a_worker_runs_there():
    inner = []

    def task(first, last):
        threads.spread(lambda a, b: inner.append((first, a, b)), 4, 2)

    threads.spread(task, 2, 2)
    assert sum(b - a for _, a, b in inner) == 8
