"""Expressions: every example of the registry reads, every mistake is answered with its position."""

import math

import numpy as np
import pytest

from faltung import filters, media
from faltung.errors import ArgumentError, FaltungError, FileError, MissingExtraError


@pytest.mark.parametrize(
    ("text", "ndim"), [(e, n) for f in filters.ALL for e in f.examples for n in f.ndims], ids=lambda v: str(v)
)
def test_every_example_of_every_filter_reads(text, ndim):
    k = filters.parse(text, ndim)
    assert k.ndim == ndim
    assert k.dtype == np.float64
    assert np.isfinite(k).all()


@pytest.mark.parametrize("family", filters.ALL, ids=lambda f: f.name)
def test_every_filter_says_what_it_is(family):
    assert family.summary
    assert family.source
    assert family.examples
    assert getattr(filters, family.name) is family.make


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("gaussian:sigma=4", filters.gaussian(4.0)),
        ("gaussian:1x2", filters.gaussian((1.0, 2.0))),
        ("box:9x5", filters.box((9, 5))),
        ("sobel:y", filters.sobel("y")),
        ("motion:15,30deg", filters.motion(15, math.radians(30))),
        ("motion:15, angle=0.5rad", filters.motion(15, 0.5)),
        ("motion:5,along=1x-1", filters.motion(5, along=(1, -1))),
        ("dog:1,2", filters.dog(1, 2)),
        ("gabor:wavelength=8,angle=45deg", filters.gabor(8, math.pi / 4)),
        ("wavelet:db4", filters.wavelet("db4")),
        ("wavelet:bior2.2,band=lh", filters.wavelet("bior2.2", "lh")),
        ("disk:5", filters.disk(5)),
        ("binomial:.4e1", filters.binomial(4)),
    ],
)
def test_an_expression_is_the_call_that_it_names(text, made):
    np.testing.assert_array_equal(filters.parse(text, 2), made)


def test_max_plus_takes_flat_elements():
    np.testing.assert_array_equal(filters.parse("box:3x2", 2, "max-plus"), np.zeros((3, 2)))
    element = filters.parse("disk:1", 2, "max-plus")
    np.testing.assert_array_equal(element == 0, [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    assert np.isneginf(element[0, 0])
    assert filters.parse("disk:1", 2, "boolean").dtype == bool
    with pytest.raises(ArgumentError, match="structuring element"):
        filters.parse("gaussian:2", 2, "max-plus")
    mirrored = filters.parse("disk:1", 2, "min-plus")
    np.testing.assert_array_equal(mirrored, -element)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "position 1"),
        ("gausian:3", "position 1.*did you mean 'gaussian'"),
        ("gaussian", "position 9.*sigma"),
        ("gaussian:", "position 10"),
        ("gaussian:sigm=3", "position 10.*did you mean 'sigma'"),
        ("gaussian:sigma=3,sigma=4", "position 18.*sigma once"),
        ("gaussian:sigma=3,4", "position 18"),
        ("gaussian:3,4,5", "position 14.*at most 2"),
        ("gaussian:-1", "sigma > 0"),
        ("gaussian:3%", "position 10"),
        ("box:9x", "position 5"),
        ("box:1x2x3", "2 axes"),
        ("box:1.5", "integer"),
        ("motion:15,30grad", "position 11"),
        ("sobel:q", "x, y"),
        ("wavelet:dq4", "did you mean db4"),
        ("wavelet", "position 8.*name"),
        ("unsharp:1", "one of gaussian, box"),
        ("gaussian:sigma=x", "finite number"),
        ("box:ndim=3", "position 5"),
    ],
)
def test_a_mistake_is_answered_with_its_position(text, said):
    with pytest.raises(ArgumentError, match=said):
        filters.parse(text, 2)


def test_files_are_filters(tmp_path):
    taps = np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "k.npy", taps)
    np.testing.assert_array_equal(filters.parse(str(tmp_path / "k.npy"), 2), taps)
    media.write(tmp_path / "k.png", media.Media(np.uint8([[0, 1], [1, 2]]), "image", top=255.0))
    np.testing.assert_array_equal(filters.parse(str(tmp_path / "k.png"), 2), [[0, 0.25], [0.25, 0.5]])
    sound = media.Media(
        np.int16([[16384], [-32768]]), "sound", 1, top=32768.0, metadata={"rate": 8000, "subtype": "PCM_16"}
    )
    media.write(tmp_path / "k.wav", sound)
    np.testing.assert_array_equal(filters.parse(str(tmp_path / "k.wav"), 1), [0.5, -1.0])


def test_files_that_are_no_filters_are_refused(tmp_path):
    np.save(tmp_path / "flat.npy", np.ones(3))
    np.save(tmp_path / "empty.npy", np.ones((0, 3)))
    media.write(tmp_path / "black.png", media.Media(np.zeros((2, 2), np.uint8), "image", top=255.0))
    media.write(tmp_path / "colour.png", media.Media(np.ones((2, 2, 3), np.uint8), "image", 3, top=255.0))
    for name in ("flat.npy", "empty.npy", "black.png", "colour.png"):
        with pytest.raises(ArgumentError, match="expected"):
            filters.parse(str(tmp_path / name), 2)
    with pytest.raises(FileError, match="no such file"):
        filters.parse("nowhere/k.npy", 2)
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(FaltungError, match="valid npy"):
        filters.parse(str(tmp_path / "bad.npy"), 2)


def test_without_pywavelets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pywt", None)
    with pytest.raises(MissingExtraError, match=r"faltung\[filters\]"):
        filters.wavelet("haar")
