"""The command line: it does what the library does, and answers every mistake with one sentence and exit code 2."""

import json
import os
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage as ndi

import faltung
from faltung import data, filters, media
from faltung.cli import apply, main, work
from faltung.cli.apply import Request
from faltung.errors import FileError
from faltung.media import Media


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test has a folder of its own with a picture, a sound and an array in it."""
    monkeypatch.chdir(tmp_path)
    media.write("cat.png", Media(data.photo()[:60, :80], "image", 3))
    media.write("grey.png", Media(data.photo()[:60, :80, 1], "image"))
    samples = np.int16(data.sound()[:4000, None] * 32767)
    media.write("voice.wav", Media(samples, "sound", 1, top=32768.0, metadata={"rate": 16000, "subtype": "PCM_16"}))
    np.save("brain.npy", data.volume()[:6, :20, :20])
    return tmp_path


def done(*words) -> None:
    assert main([str(w) for w in words]) == 0


# -- what it does ---------------------------------------------------------------------------------------------------------


def test_a_picture_is_filtered_like_scipy_does_it_and_stays_eight_bit():
    done("convolve", "cat.png", "-k", "gaussian:sigma=2", "-o", "out.png")
    x, y = media.read("cat.png").array, media.read("out.png").array
    assert y.dtype == np.uint8
    expected = ndi.gaussian_filter(x.astype(float), (2, 2, 0), mode="mirror")
    assert np.abs(y - expected).max() <= 0.501


def test_rounding_saturates_and_floats_do_not():
    done("convolve", "grey.png", "-k", "sobel:x", "-o", "out.png")
    done("convolve", "grey.png", "-k", "sobel:x", "-o", "out.npy")
    done("convolve", "grey.png", "-k", "sobel:x", "--float", "-o", "out.tif")
    exact = np.load("out.npy")
    assert exact.min() < 0
    assert exact.dtype == np.float32
    np.testing.assert_array_equal(media.read("out.tif").array, exact)
    np.testing.assert_array_equal(media.read("out.png").array, np.clip(exact, 0, 255))
    np.testing.assert_allclose(
        exact, ndi.sobel(media.read("grey.png").array.astype(float), 1, mode="mirror"), atol=1e-3
    )


@pytest.mark.parametrize(
    "words", [("-k", "box:1"), ("-k", "box:1", "--over", "max-plus"), ("-k", "box:1", "--correlate")]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [None, 2, 3, 4])
def test_the_filter_that_does_nothing_changes_nothing(dtype, channels, words):
    shape = (9, 11) if channels is None else (9, 11, channels)
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    given = Media(values, "image", channels, channels in (2, 4), top=float(np.iinfo(dtype).max))
    if given.alpha:  # under a fully clear pixel there is no colour to keep
        values[..., -1] = np.maximum(values[..., -1], 1)
    media.write("in.png", given)
    done("convolve", "in.png", *words, "-o", "out.png")
    np.testing.assert_array_equal(media.read("out.png").array, values)


def test_colours_do_not_leak_out_of_clear_pixels():
    values = np.zeros((9, 9, 4), np.uint8)
    values[:, :4] = (200, 0, 0, 255)  # red and opaque
    values[:, 4:] = (0, 255, 0, 0)  # green, and clear
    media.write("in.png", Media(values, "image", 4, True))
    for words in (("-k", "gaussian:1.5"), ("-k", "disk:2", "--over", "max-plus")):
        done("convolve", "in.png", *words, "-o", "out.png")
        out = media.read("out.png").array
        seen = out[..., 3] > 0
        assert seen[:, 5].all()  # opacity spreads
        assert (np.abs(out[seen][:, 0].astype(int) - 200) <= 1).all()
        assert (out[..., 1] == 0).all()


def test_edges_leave_opacity_where_it_is():
    values = np.random.default_rng(1).integers(0, 256, (9, 9, 4), np.uint8)
    media.write("in.png", Media(values, "image", 4, True))
    for flip in ((), ("--correlate",)):
        done("convolve", "in.png", "-k", "laplacian", *flip, "-o", "out.png")
        np.testing.assert_array_equal(media.read("out.png").array[..., 3], values[..., 3])


def test_brighter_is_not_more_opaque():
    values = np.full((5, 5, 4), 100, np.uint8)
    media.write("in.png", Media(values, "image", 4, True))
    done("convolve", "in.png", "-k", "box:3", "--scale", 2, "-o", "out.png")
    np.testing.assert_array_equal(media.read("out.png").array, np.full((5, 5, 4), (200, 200, 200, 100)))


def test_max_plus_takes_the_brightest_within_a_box():
    done("convolve", "cat.png", "-k", "box:5x3", "--over", "max-plus", "-o", "out.png")
    expected = ndi.maximum_filter(media.read("cat.png").array, (5, 3, 1), mode="mirror")
    np.testing.assert_array_equal(media.read("out.png").array, expected)


def test_sounds_get_longer_and_keep_rate_and_type(capsys):
    np.save("echo.npy", np.r_[1.0, np.zeros(99), 0.5])
    done("convolve", "voice.wav", "-k", "echo.npy", "-o", "out.flac")
    x, y = media.read("voice.wav"), media.read("out.flac")
    assert y.array.shape == (4100, 1)
    assert (y.metadata["rate"], y.metadata["subtype"]) == (16000, "PCM_16")
    expected = np.rint(np.convolve(x.array[:, 0], np.load("echo.npy")))
    np.testing.assert_array_equal(y.array[:, 0], expected)
    assert capsys.readouterr().err == ""


def test_samples_that_are_cut_are_told(capsys):
    done("convolve", "voice.wav", "-k", "box:1", "--scale", 100, "-o", "out.wav")
    assert "% of the samples were louder" in capsys.readouterr().err
    done("convolve", "voice.wav", "-k", "box:1", "--scale", 100, "--float", "-o", "out.wav")
    assert capsys.readouterr().err == ""
    loud = media.read("out.wav")
    assert loud.metadata["subtype"] == "FLOAT"
    np.testing.assert_allclose(loud.array, media.read("voice.wav").array / 327.68, rtol=1e-6)


def test_a_stereo_echo_makes_a_mono_sound_stereo():
    both = Media(
        np.int16([[16384, 0], [0, 8192]]), "sound", 2, top=32768.0, metadata={"rate": 16000, "subtype": "PCM_16"}
    )
    media.write("room.wav", both)
    done("convolve", "voice.wav", "-k", "room.wav", "-o", "out.wav")
    x, y = media.read("voice.wav").array[:, 0], media.read("out.wav").array
    np.testing.assert_array_equal(y[:, 0], np.rint(np.r_[x, 0] * 0.5))
    np.testing.assert_array_equal(y[:, 1], np.rint(np.r_[0, x] * 0.25))


def test_volumes_keep_their_integers_only_as_floats():
    done("convolve", "brain.npy", "-k", "gaussian:1", "-o", "out.npy")
    expected = ndi.gaussian_filter(np.load("brain.npy").astype(float), 1, mode="mirror")
    np.testing.assert_allclose(np.load("out.npy"), expected, atol=1e-6)


def test_stride_mode_and_boundary_reach_the_door():
    done("convolve", "brain.npy", "-k", "box:3", "--stride", "1x2x2", "--mode", "valid", "-o", "a.npy")
    done("convolve", "brain.npy", "-k", "box:3", "--boundary", "wrap,3.5,edge", "-o", "b.npy")
    x, k = np.load("brain.npy"), filters.box(3, ndim=3)
    # The command line's own boundary, which plays no part here but in the plan.
    strided = faltung.convolve(x, k, mode="valid", stride=(1, 2, 2), boundary="reflect")
    np.testing.assert_array_equal(np.load("a.npy"), strided)
    np.testing.assert_array_equal(np.load("b.npy"), faltung.convolve(x, k, mode="same", boundary=("wrap", 3.5, "edge")))


def test_several_files_go_into_a_folder(here):
    done("convolve", "cat.png", "grey.png", "voice.wav", "-k", "box:3", "-o", "out")
    assert sorted(p.name for p in (here / "out").iterdir()) == ["cat.png", "grey.png", "voice.wav"]
    done("convolve", "cat.png", "-k", "box:3", "-o", "out")  # one file, into a folder that is there


def test_explain_shows_the_plan_and_who_took_the_filter(capsys):
    done("convolve", "cat.png", "-k", "gaussian:9", "--explain", "--only", "separable")
    shown = capsys.readouterr().out
    assert "separable" in shown
    assert "this filter is taken by separable" in shown
    done("explain", "100x100", "5x5", "--stride", "2", "--boundary", "wrap")
    first = capsys.readouterr().out
    done("explain", first.splitlines()[0])
    assert capsys.readouterr().out == first


@pytest.mark.parametrize("kind", ["methods", "algebras", "domains", "kernels", "filters"])
def test_lists_name_all_that_there_is(kind, capsys):
    done("list", kind)
    shown = capsys.readouterr().out
    for item in getattr(faltung, kind).ALL:
        assert item.name in shown


def test_bench_runs_what_lies_in_the_checkout(here, monkeypatch, capsys):
    (here / "benchmarks").mkdir()
    (here / "benchmarks" / "run.py").write_text("import sys; print('ran', sys.argv[1:])")
    (here / "deep").mkdir()
    monkeypatch.chdir(here / "deep")
    before = list(sys.argv)
    done("bench", "--quick")
    assert capsys.readouterr().out == "ran ['--quick']\n"
    assert sys.argv == before


def test_tune_reports_where_it_wrote_and_what_is_gained(tmp_path, monkeypatch, capsys):
    tuning, path = import_module("faltung.planner.tune"), tmp_path / "profile.json"
    path.write_text(json.dumps({"regret": {"shipped": 1.25, "tuned": 1.04}}))

    def tune(progress):
        progress(0.5, "loops")
        progress(1.0)
        return path

    monkeypatch.setattr(tuning, "tune", tune)
    done("tune")
    gained = "choices of the drawn problems took 4 % longer than the fastest ways; 25 % by the shipped rates"
    assert capsys.readouterr().out == f"wrote {path}\n{gained}\n"


def test_help_and_version(capsys):
    done("--help")
    done("convolve", "--help")
    done()
    done("version")
    assert faltung.__version__ in capsys.readouterr().out


# -- what it refuses ------------------------------------------------------------------------------------------------------

CONVOLVE = ("convolve", "cat.png", "-o", "out.png", "-k")
WRONG = [
    ("nonsense",),
    ("--nonsense",),
    ("convolve",),
    ("convolve", "cat.png", "-o", "out.png"),
    ("convolve", "cat.png", "-k", "box:3"),
    ("convolve", "none.png", "-k", "box:3", "-o", "out.png"),
    ("convolve", "cat.gif", "-k", "box:3", "-o", "out.png"),
    ("convolve", ".", "-k", "box:3", "-o", "out.png"),
    ("convolve", "cat.png", "-k", "box:3", "-o", "out.gif"),
    ("convolve", "cat.png", "-k", "box:3", "-o", "out"),
    ("convolve", "cat.png", "-k", "box:3", "-o", "none/out.png"),
    ("convolve", "cat.png", "-k", "box:3", "-o", "out.wav"),
    ("convolve", "voice.wav", "-k", "box:3", "-o", "out.png"),
    ("convolve", "brain.npy", "-k", "box:3", "-o", "out.png"),
    ("convolve", "cat.png", "-k", "box:3", "-o", "out.png", "--float"),
    ("convolve", "cat.png", "grey.png", "-k", "box:3", "-o", "voice.wav"),
    ("convolve", "cat.png", "./cat.png", "-k", "box:3", "-o", "out"),
    ("convolve", "voice.wav", "cat.png", "-k", "box:3x3", "-o", "out"),
    ("convolve", "voice.wav", "-k", "box:3x3", "-o", "out.wav"),
    ("convolve", "voice.wav", "-k", "grey.png", "-o", "out.wav"),
    (*CONVOLVE, ""),
    (*CONVOLVE, "bix:3"),
    (*CONVOLVE, "box:0"),
    (*CONVOLVE, "none.npy"),
    (*CONVOLVE, "cat.png"),
    (*CONVOLVE, "brain.npy"),
    (*CONVOLVE, "gaussian:2", "--over", "max-plus"),
    (*CONVOLVE, "box:3", "--over", "min-times"),
    (*CONVOLVE, "box:3", "--over", "boolean"),
    (*CONVOLVE, "box:3", "--over", "integer"),
    (*CONVOLVE, "box:3", "--over", "max-plus", "--scale", "2"),
    (*CONVOLVE, "box:3", "--mode", "some"),
    (*CONVOLVE, "box:3", "--boundary", "mirror"),
    (*CONVOLVE, "box:3", "--boundary", "wrap,wrap,wrap"),
    (*CONVOLVE, "box:3", "--stride", "0"),
    (*CONVOLVE, "box:3", "--stride", "two"),
    (*CONVOLVE, "box:3", "--stride", "1x2x3"),
    (*CONVOLVE, "box:3", "--scale", "loud"),
    (*CONVOLVE, "box:99", "--mode", "valid"),
    (*CONVOLVE, "box:3", "--only", "magic"),
    (*CONVOLVE, "box:3", "--only", "winograd", "--over", "max-plus"),
    (*CONVOLVE, "box:3", "--without", "magic"),
    (*CONVOLVE, "box:3", "--tolerance", "2"),
    (*CONVOLVE, "box:3", "--tolerance", "1e-30", "--without", "definition"),
    (*CONVOLVE, "box:3", "--memory", "lots"),
    (*CONVOLVE, "box:3", "--memory", "1B"),
    (*CONVOLVE, "box:3", "--threads", "0"),
    ("explain",),
    ("explain", "100x100"),
    ("explain", "100x100", "5"),
    ("explain", "100x0", "5x5"),
    ("explain", "a", "b", "c"),
    ("explain", "9x9", "3x3", "--dtype", "float7"),
    ("explain", "9x9", "3x3", "--pattern", "b c"),
    ("list",),
    ("list", "colours"),
    ("bench",),
    ("tour", "-o", "cat.png"),
]


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(words)[:60])
def test_a_mistake_is_one_sentence_and_exit_code_two_and_leaves_nothing(words, capsys, here):
    before = {p.name: p.read_bytes() for p in here.iterdir()}
    assert main(list(words)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("faltung: ")
    assert said.err.count("\n") == 1
    assert len(said.err) > 30
    assert {p.name: p.read_bytes() if p.is_file() else None for p in here.iterdir()} == before


def test_a_damaged_file_among_good_ones_is_named_and_the_good_ones_are_whole(here, capsys):
    (here / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert main(["convolve", "cat.png", "bad.png", "grey.png", "-k", "box:3", "-o", "out"]) == 2
    assert "1 of 3 files were written" in capsys.readouterr().err
    assert [p.name for p in (here / "out").iterdir()] == ["cat.png"]
    assert media.read("out/cat.png").array.shape == (60, 80, 3)


def test_a_write_that_fails_half_way_leaves_the_old_file(here, monkeypatch, capsys):
    (here / "out.png").write_bytes(b"old")

    def half(path, given):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(media.images, "write", half)
    assert main(["convolve", "cat.png", "-k", "box:3", "-o", "out.png"]) == 2
    assert "no space left on device" in capsys.readouterr().err
    assert (here / "out.png").read_bytes() == b"old"
    assert not [p for p in here.iterdir() if p.name.startswith(".")]


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "convolve_files", interrupted)
    assert main(["convolve", "cat.png", "-k", "box:3", "-o", "out.png"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_without_typer_or_rich_the_extra_is_named(module):
    code = f"import sys; sys.modules[{module!r}] = None\nfrom faltung.cli import main; sys.exit(main(['version']))"
    source = Path(faltung.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "faltung[cli]" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_sounds_of_different_rates_do_not_meet():
    given = media.read("voice.wav")
    media.write("slow.wav", Media(given.array, "sound", 1, top=32768.0, metadata={**given.metadata, "rate": 8000}))
    with pytest.raises(faltung.errors.ArgumentError, match=r"16000 .* 8000"):
        apply.filter_for(given, Request("slow.wav"))


def test_a_target_is_checked_before_the_work(monkeypatch):
    monkeypatch.setattr(work, "convolved", lambda *_: pytest.fail("computed for nothing"))
    with pytest.raises(FileError):
        work.convolve_files([Path("cat.png")], Path("none/out.png"), Request("box:3"), False, _Quiet())


class _Quiet:
    is_terminal = False

    def __getattr__(self, name):
        from rich.console import Console

        return getattr(Console(quiet=True), name)


def test_it_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["faltung", "version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("faltung.cli", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == faltung.__version__


def test_tune_records_the_fastest_method_of_given_problems(tmp_path, monkeypatch, capsys):
    from faltung import Problem
    from faltung.planner import this_machine, wisdom

    monkeypatch.setenv("FALTUNG_CACHE_DIR", str(tmp_path / "cache"))
    wisdom._read.cache_clear()
    line = 'correlate "*s, *s -> *s" x=300:float32 k=20:float32 out=float32 pad=0:0 boundary=constant'
    lines = tmp_path / "problems.txt"
    lines.write_text(f"# a comment\nsmall | a row | random | {line}\n")
    try:
        done("tune", "--problems", str(lines))
        assert "wisdom.json" in capsys.readouterr().out
        problem = Problem.parse(line)
        assert wisdom.best(problem, this_machine()) in {"direct", "fft", "overlap", "blocks", "winograd"}
    finally:
        wisdom._read.cache_clear()


def test_tune_names_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["tune", "--problems", str(tmp_path / "none.txt")]) == 2
    assert "none.txt" in capsys.readouterr().err


def test_the_package_runs_as_a_module():
    source = str(Path(faltung.__file__).parents[1])
    words = [sys.executable, "-m", "faltung"]
    given = os.environ | {"PYTHONPATH": source}
    ran = subprocess.run([*words, "--help"], capture_output=True, text=True, check=False, env=given)
    assert ran.returncode == 0, ran.stderr
    assert "convolve" in ran.stdout
    ran = subprocess.run([*words, "convolve"], capture_output=True, text=True, check=False, env=given)
    assert ran.returncode == 2
