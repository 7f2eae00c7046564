"""`faltung convolve --stream`: the same results as without, in memory that does not grow with the file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import faltung
from faltung import data, media
from faltung.cli import main
from faltung.media import Media, npy
from faltung.media.sound_blocks import Reader

FALTUNG = [sys.executable, "-m", "faltung.cli"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test has a folder of its own with a sound of two channels, an echo and an array in it."""
    monkeypatch.chdir(tmp_path)
    voice = data.sound()
    both = np.stack([voice, voice[::-1]], 1)
    for name, dtype, top, subtype in (
        ("voice.wav", np.int16, 2.0**15, "PCM_16"), ("voice.flac", np.int16, 2.0**15, "PCM_16"),
        ("deep.wav", np.int32, 2.0**23, "PCM_24"), ("float.wav", np.float32, 1.0, "FLOAT"),
    ):  # fmt: skip
        values = (both * (top - 1 if dtype != np.float32 else 1)).astype(dtype)
        media.write(name, Media(values, "sound", 2, top=top, metadata={"rate": 16000, "subtype": subtype}))
    random = np.random.default_rng(0)
    echo = random.standard_normal(2000) * np.exp(-np.arange(2000) / 300) * 0.05
    media.write(
        "echo.wav",
        Media(echo[:, None].astype("float32"), "sound", 1, top=1.0, metadata={"rate": 16000, "subtype": "FLOAT"}),
    )
    np.save("brain.npy", data.volume()[:25, :20, :20].astype("float32"))
    return tmp_path


def done(*words) -> None:
    assert main([str(w) for w in words]) == 0


@pytest.mark.parametrize("name", ["voice.wav", "voice.flac", "deep.wav", "float.wav"])
@pytest.mark.parametrize("how", [(), ("--mode", "same"), ("--mode", "valid", "--correlate"), ("--float",)])
def test_a_sound_in_blocks_is_the_sound_at_once(name, how):
    if "--float" in how and name.endswith(".flac"):
        pytest.skip("FLAC holds integers only")
    suffix = name[-5:].lstrip("e")
    done("convolve", name, "-k", "echo.wav", *how, "-o", "a" + suffix)
    done("convolve", name, "-k", "echo.wav", *how, "--stream", "-o", "b" + suffix)
    a, b = media.read("a" + suffix), media.read("b" + suffix)
    assert (a.array.dtype, a.array.shape, a.top) == (b.array.dtype, b.array.shape, b.top)
    assert {k: v for k, v in a.metadata.items() if k != "tags"} == {k: v for k, v in b.metadata.items() if k != "tags"}
    off = np.abs(a.array.astype(float) - b.array)
    assert off.max() <= (1 if a.array.dtype.kind == "i" else 1e-6)
    assert (off > 1e-6).mean() < 1e-3  # ties of rounding


def test_loud_results_are_cut_and_said(capsys):
    done("convolve", "voice.wav", "-k", "echo.wav", "--scale", "100", "--stream", "-o", "out.wav")
    assert "louder than the file can hold" in capsys.readouterr().err
    assert np.abs(media.read("out.wav").array.astype(int)).max() >= 32767


@pytest.mark.parametrize("first", ["voice.wav", "deep.wav", "float.wav"])
def test_a_pipe_of_two(first):
    ours = " ".join([*FALTUNG, "convolve - --stream -o - -k"])
    chain = f"cat {first} | {ours} echo.wav | {ours} box:2"
    wav = subprocess.run(chain, shell=True, capture_output=True, check=True).stdout
    Path("piped.wav").write_bytes(wav)
    done("convolve", first, "-k", "echo.wav", "-o", "once.wav")
    done("convolve", "once.wav", "-k", "box:2", "-o", "twice.wav")
    reader = Reader(Path("piped.wav"))
    piped, wanted = np.concatenate(list(reader.blocks(1000))), media.read("twice.wav")
    assert (reader.rate, reader.channels, reader.subtype) == (16000, 2, wanted.metadata["subtype"])
    assert piped.shape == wanted.array.shape
    assert np.abs(piped.astype(float) - wanted.array).max() <= (2 if piped.dtype.kind == "i" else 1e-6)


@pytest.mark.parametrize(
    "how", [(), ("--mode", "full", "--boundary", "wrap"), ("--boundary", "edge", "--correlate"), ("--over", "max-plus"),
            ("--stride", "2"), ("--mode", "valid"), ("--boundary", "2.5")],
)  # fmt: skip
def test_an_array_in_slabs_is_the_array_at_once(how):
    words = ("convolve", "brain.npy", "-k", "box:1" if "--over" in how else "gaussian:sigma=1", *how)
    done(*words, "-o", "a.npy")
    done(*words, "--memory", "500kB", "--stream", "-o", "b.npy")
    a, b = np.load("a.npy"), np.load("b.npy")
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max())


LIMITED = """
import sys
from faltung.cli import main
code = main(sys.argv[1:])
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def peak(*words) -> int:
    """Most kilobytes that a process held which ran these words."""
    done = subprocess.run([sys.executable, "-c", LIMITED, *words], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
@pytest.mark.parametrize("kind", ["sound", "array"])
def test_memory_does_not_grow_with_the_file(kind):
    """Sixteen times as long a file, hundreds of megabytes if it were read whole, takes hardly more memory."""
    taken = []
    for times in (1, 16):
        if kind == "sound":
            n, name, out = 200_000 * times, "long.wav", "out.wav"
            samples = np.zeros((n, 2), np.int16)
            samples[::1000] = 3000
            media.write(name, Media(samples, "sound", 2, top=2.0**15, metadata={"rate": 16000, "subtype": "PCM_16"}))
            del samples
            words = ("convolve", name, "-k", "echo.wav", "--stream", "-o", out)
        else:
            name, out = "long.npy", "out.npy"
            slabs = (np.full((50, 100, 100), n, np.float32) for n in range(4 * times))
            npy.write(Path(name), (200 * times, 100, 100), np.float32, slabs)
            words = ("convolve", name, "-k", "box:1", "--memory", "128MB", "--stream", "-o", out)
        taken.append(peak(*words))
        size = os.path.getsize(out)
    assert size > 12_000_000
    assert taken[1] - taken[0] < 16_000, taken
    if kind == "array":
        assert np.load("out.npy", mmap_mode="r").shape == (3200, 100, 100)


def test_rows_are_read_and_written_as_numpy_does():
    for dtype in (">f8", "<i2", "complex64", "bool"):
        x = (np.arange(60).reshape(5, 3, 4) % 2).astype(dtype)
        np.save("x.npy", x)
        rows = npy.Rows(Path("x.npy"))
        np.testing.assert_array_equal(rows[1:4], x[1:4])
        npy.write(Path("y.npy"), x.shape, x.dtype, [x[:2], x[2:]])
        np.testing.assert_array_equal(np.load("y.npy"), x)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cat.png", "-k", "box:1", "-o", "out.png"), "a sound, a .npy array"),
        (("voice.wav", "-k", "echo.wav", "--stride", "2", "-o", "out.wav"), "every sample kept"),
        (("voice.wav", "-k", "echo.wav", "--boundary", "wrap", "-o", "out.wav"), "nothing before"),
        (("voice.wav", "-k", "echo.wav", "-o", "out.npy"), "a sound among"),
        (("brain.npy", "-k", "box:1", "-o", "out.wav"), ".npy file for an array"),
        (("none.wav", "-k", "box:1", "-o", "out.wav"), "expected a file"),
        (("none.npy", "-k", "box:1", "-o", "out.npy"), "expected a file"),
        (("columns.npy", "-k", "box:1", "-o", "out.npy"), "Fortran"),
        (("short.npy", "-k", "box:1", "-o", "out.npy"), "cut short"),
        (("broken.wav", "-k", "box:1", "-o", "out.wav"), "WAV, AU or FLAC"),
        (("voice.wav", "brain.npy", "-k", "box:1", "-o", "out"), "one input"),
        (("voice.wav", "-k", "box:1"), "place to write"),
    ],
)
def test_what_cannot_be_streamed_is_said(words, said, capsys):
    np.save("columns.npy", np.asfortranarray(np.ones((4, 5))))
    np.save("short.npy", np.ones((400, 500)))
    with open("short.npy", "r+b") as file:
        file.truncate(100_000)
    Path("broken.wav").write_bytes(b"no sound")
    Path("cat.png").write_bytes(b"")
    before = set(os.listdir())
    assert main(["convolve", *words, "--stream"]) == 2
    assert said in capsys.readouterr().err
    assert set(os.listdir()) == before  # nothing half-written


def test_slabs_are_the_door():
    random = np.random.default_rng(1)
    x, k = random.standard_normal((30, 8)), random.standard_normal((5, 3))
    for how in (
        {"mode": "full"}, {"mode": "same", "boundary": "reflect"}, {"mode": "same", "boundary": ("wrap", "edge")},
        {"mode": ((40, 3), (1, 1)), "boundary": "symmetric"}, {"mode": "same", "boundary": 3.0, "stride": (3, 2)},
        {"mode": "same", "over": "min-plus"},
    ):  # fmt: skip
        for rows in (1, 4, 7, 100):
            slabs = faltung.convolve_slabs(x, k, rows=rows, **how)
            y = np.concatenate(list(slabs))
            assert len(slabs) == -(-len(y) // rows)
            wanted = faltung.convolve(x, k, **how)
            assert (slabs.shape, slabs.dtype) == (wanted.shape, str(wanted.dtype))
            np.testing.assert_allclose(y, wanted, atol=1e-12)
    x, k = random.integers(0, 9, (20, 6, 2)).astype("int16"), random.integers(0, 9, (3, 2)).astype("int16")
    y = np.concatenate(
        list(faltung.convolve_slabs(x, k, "*s c, *s -> *s c", rows=3, flip=False, boundary=70000, mode="same"))
    )
    np.testing.assert_array_equal(y, faltung.correlate(x, k, "*s c, *s -> *s c", boundary=70000, mode="same"))


def test_slabs_that_cannot_be_are_named():
    from faltung.errors import ArgumentError

    with pytest.raises(ArgumentError, match="begin with the convolved"):
        faltung.convolve_slabs(np.ones((2, 9)), np.ones(3), "c *s, *s -> c *s")
    with pytest.raises(ArgumentError, match="rows as a whole"):
        faltung.convolve_slabs(np.ones(9), np.ones(3), rows=0)
