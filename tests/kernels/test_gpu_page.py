"""The page of GPU timings: rows shrink until they fit, a lack of memory is a cell, and what was measured is kept."""

import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
HOME = Path(__file__).parents[2] / "benchmarks"


class Fake:
    """A device on which every call takes a millisecond more than the one before and holds a byte."""

    name = "cpu"

    def __init__(self, free=1 << 40):
        self.bytes, self.clock, self.released, self.seen = free, 0.0, 0, []

    def free(self):
        return self.bytes

    def milliseconds(self, call):
        call()
        self.clock += 1.0
        return self.clock

    def peak(self, call):
        self.seen.append(call())
        return 1

    def release(self):
        self.released += 1


class OutOfResources(Exception):
    """As Triton's."""


@pytest.fixture(scope="module")
def gpu():
    sys.path.insert(0, str(HOME))
    try:
        yield SimpleNamespace(**{name: import_module(f"gpu_rows.{name}") for name in ("page", "tables", "calls")})
    finally:
        sys.path.remove(str(HOME))


@pytest.fixture
def small(gpu, monkeypatch):
    """Every table at sizes that a processor takes no time for."""
    sizes = {
        "BATCH": 2,
        "CHANNELS": 4,
        "LADDER": (256,),
        "SHORT": ((2, 16, 3, 5.5),),
        "FILTERS": (3,),
        "IMAGES": (1, 2, 6),
    }
    sizes |= {"WINDOWS": (1, 2, 8), "ROWS": (2, 9, 3, 7, 2), "STAGES": ((4, 5, 3),), "DIRECT": 256}
    for name, value in sizes.items():
        monkeypatch.setattr(gpu.tables, name, value)
    return gpu


@settings(deadline=None, derandomize=True, database=None)
@given(
    batch=st.sampled_from([1, 3, 64]), channels=st.sampled_from([1, 5, 768]), each=st.integers(1, 1 << 32),
    free=st.integers(1, 1 << 38),
)  # fmt: skip
def test_rows_shrink_until_they_fit(gpu, batch, channels, each, free):
    B, C = gpu.page.shrunk(batch, channels, each, free)
    assert 1 <= B <= batch
    assert 1 <= C <= channels
    assert B * C * each <= gpu.page.SHARE * free or (B, C) == (1, 1)
    assert B == 1 or channels == C  # the batch goes first
    if (batch, channels) != (B, C):  # and no further than needed
        more = (2 * B + 1, C) if channels == C else (B, 2 * C + 1)  # at least what was halved last
        assert more[0] * more[1] * each > gpu.page.SHARE * free


def test_the_longest_row_fits_the_largest_device(gpu):
    B, C = gpu.page.shrunk(64, 768, (1 << 22) * gpu.tables.HELD[True], 139 << 30)
    assert B == 1
    assert 8 <= C < 768


def test_a_lack_of_memory_is_a_cell(gpu):
    device, calls = Fake(), []

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    def late():  # fits while it warms up
        calls.append(1)
        if len(calls) > gpu.page.WARM + 1:
            raise RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED")

    def wide():
        raise OutOfResources("shared memory")

    found = gpu.page.timed(device, {"a": lambda: 0, "b": full, "c": late, "d": wide}, 3)
    assert found == {"a": 3.0, "b": "does not fit", "c": "does not fit", "d": "does not fit a multiprocessor"}
    assert device.released == 3
    assert gpu.page.ratio(found["b"], found["a"]) == ""
    assert gpu.page.ratio(6.0, 3.0) == "2.00"
    assert gpu.page.shown(found["b"], 2.0) == "does not fit"
    with pytest.raises(RuntimeError, match="something else"):
        gpu.page.timed(device, {"a": lambda: (_ for _ in ()).throw(RuntimeError("something else"))}, 1)


def test_results_that_differ_are_said_to(gpu):
    one = torch.ones(3)
    assert gpu.page.agreed(Fake(), {"a": lambda: one, "b": lambda: one + 1e-4}, 1e-3) == ""
    assert (
        gpu.page.agreed(Fake(), {"a": lambda: (one, 2 * one), "b": lambda: (one, one)}, 1e-3) == "wrong: 1.0e+00 apart"
    )
    assert gpu.page.agreed(Fake(), {"a": lambda: one * torch.nan, "b": lambda: one}, 1e-3).startswith("wrong")


def table(gpu, sizes, log):
    def measure(n):
        log.append(n)
        if n == 4:
            raise torch.OutOfMemoryError("operands")
        return [str(n * n), "x"]

    cases = tuple(gpu.page.Case((f"{n:,}", "float16"), lambda n=n: measure(n), n) for n in sizes)
    return gpu.page.Table("squares", "Squares", ("Said above.",), ("n", "dtype", "n²", "mark"), cases)


def test_rows_are_kept_and_the_page_is_written_after_each(gpu, tmp_path):
    path, log = tmp_path / "device.md", []
    made = table(gpu, (1, 2, 3, 4), log)

    def page(facts="torch 1"):
        return gpu.page.Page(path, "A device", facts, [made])

    ticks = iter([0.0, 1.0, 2.0, 3.0, 4.0])
    assert gpu.page.fill(page(), Fake(), lambda t, c: c.size >= 2, 0.5, lambda: next(ticks)) == 2
    assert log == [2]
    assert "| 2 | float16 | 4 | x |" in path.read_text()
    assert gpu.page.fill(page(), Fake(), lambda t, c: True, 1.0, lambda: 0.0) == 0
    assert log == [2, 1, 3, 4]  # the second is not measured again
    rows = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    assert rows[1:] == ["| 1 | float16 | 1 | x |", "| 2 | float16 | 4 | x |", "| 3 | float16 | 9 | x |",
                        "| 4 | float16 | does not fit |  |"]  # fmt: skip
    assert gpu.page.fill(page(), Fake(), lambda t, c: True, 1.0, lambda: 0.0) == 0
    assert len(log) == 4
    assert page("torch 2").rows == {"squares": {}}  # other versions: nothing is kept


def test_a_row_that_fails_leaves_the_page_whole(gpu, tmp_path):
    path, log = tmp_path / "device.md", []
    made = table(gpu, (1, 2), log)
    broken = gpu.page.Case(("2", "float16"), lambda: (_ for _ in ()).throw(ZeroDivisionError()), 2)
    page = gpu.page.Page(path, "A device", "torch 1", [made])
    object.__setattr__(made, "cases", (made.cases[0], broken))
    with pytest.raises(ZeroDivisionError):
        gpu.page.fill(page, Fake(), lambda t, c: True, 1.0, lambda: 0.0)
    assert "| 1 | float16 | 1 | x |" in path.read_text()


def test_every_table_has_rows_whose_sides_agree(small, tmp_path):
    device = Fake()
    tables = [t for t in small.tables.all_tables(device, 2) if t.name != "images"]  # those need the kernels themselves
    page = small.page.Page(tmp_path / "device.md", "A device", "torch", tables)
    assert small.page.fill(page, device, lambda t, c: True, 1.0, lambda: 0.0) == 0
    text = "\n".join(page.lines())
    assert "wrong" not in text
    assert "does not fit" not in text
    assert {t.name for t in tables} == {"lengths", "short", "others", "waterline"}
    for made in tables:
        assert len(page.rows[made.name]) == len(made.cases)
        assert all("" not in row[:5] for row in page.rows[made.name].values())
    published = page.rows["lengths"]["256", "float16", "yes", "forward"][-3:]
    assert published == ["0.62 / 0.11", "5.64", "6.65"]
    assert page.rows["lengths"]["256", "float16", "no", "forward"][-3:] == ["", "", ""]
    assert "not measured here" in text


def test_times_of_a_smaller_row_are_scaled_and_said_to_be(small, monkeypatch):
    device = Fake(free=8 * 56 * 256)  # of 8 rows SHARE of memory holds 6: batch 1, all channels
    (case,) = [c for c in small.tables.lengths(device, 1).cases if c.key == ("256", "float16", "yes", "forward")]
    size, ours, theirs, *_ = case.measure()
    assert size == "1 × 4, scaled"
    assert (ours, theirs) == ("2", "4")  # 1 and 2 ms, for half of the batch
    assert device.seen[0].shape == (1, 4, 256)


def test_published_figures_are_for_all_lengths(gpu):
    assert set(gpu.tables.PUBLISHED) == set(gpu.tables.LADDER)
    saved = [figures[2] for figures in gpu.tables.PUBLISHED.values()]
    assert (min(saved), max(saved)) == (2.81, 6.65)
