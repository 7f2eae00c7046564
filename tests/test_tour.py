"""The tour: one page that needs nothing else, with every picture described, and results that are what they are called."""

import base64
import io
import re
import wave
from html.parser import HTMLParser

import numpy as np
import pytest
import scipy.ndimage as ndi
from PIL import Image

from faltung import data, tour
from faltung.errors import FileError

VOID = {"meta", "img", "br", "path"}


@pytest.fixture(scope="module")
def chapters():
    return tour.stops()


@pytest.fixture(scope="module")
def text(chapters):
    return tour.page(chapters)


def test_the_page_is_written_whole_and_again(tmp_path, monkeypatch, chapters):
    monkeypatch.setattr(tour, "stops", lambda: chapters)
    for _ in range(2):
        where = tour.write(tmp_path / "a" / "b")
        assert where == tmp_path / "a" / "b" / "index.html"
        assert [p.name for p in where.parent.iterdir()] == ["index.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="a folder"):
        tour.write(tmp_path / "file")


def test_every_tag_is_closed_and_every_picture_described(text):
    open_tags, pictures = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            pictures.extend([dict(attrs)] if tag in ("img", "audio") else [])
            if tag not in VOID:
                open_tags.append(tag)

        def handle_startendtag(self, tag, attrs):
            assert tag in VOID

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(text)
    assert open_tags == []
    assert len(pictures) == 9 + 3
    for attributes in pictures:
        assert len(attributes.get("alt") or attributes["aria-label"]) > 10
        assert attributes["src"].startswith("data:")


def test_nothing_is_loaded_from_elsewhere(text):
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", text)
    assert "http" not in re.sub(r"data:[^\"']*", "", text)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme:dark" in text
    assert len(text) < 4_000_000


def test_pictures_and_sounds_can_be_opened(text):
    for kind, content in re.findall(r'src="data:([a-z/]+);base64,([^"]*)"', text):
        raw = io.BytesIO(base64.b64decode(content))
        if kind == "image/png":
            with Image.open(raw) as picture:
                picture.load()
        else:
            with wave.open(raw) as sound:
                assert sound.getnframes() > sound.getframerate()


def test_every_stop_shows_its_time_and_its_plan(chapters, text):
    stops = [stop for _, _, found in chapters for stop in found]
    assert [s.title for s in stops] == [
        "Blur", "Sharpen", "Edges", "Motion", "Dilation", "In a cathedral", "Behind a door", "Smooth", "Gradient",
    ]  # fmt: skip
    for stop in stops:
        assert stop.seconds > 0
        assert stop.method in stop.plan
        assert stop.plan.splitlines()[0].startswith("convolve ")
    assert text.count("Why this method?") == len(stops)


def test_results_are_scipys(chapters):
    by_title = {stop.title: stop.values for _, _, found in chapters for stop in found}
    photo = data.photo()
    blurred = ndi.gaussian_filter(photo.astype(float), (3, 3, 0), mode="mirror")
    assert np.abs(by_title["Blur"] - blurred).max() <= 0.501
    near = np.hypot(*np.mgrid[-4:5, -4:5]) <= 4
    np.testing.assert_array_equal(
        by_title["Dilation"], ndi.maximum_filter(photo, footprint=near[..., None], mode="mirror")
    )
    smooth = ndi.gaussian_filter(data.volume().astype(float), (0.9, 1, 1), mode="mirror")
    np.testing.assert_allclose(by_title["Smooth"], smooth, atol=1e-2)
    hall = np.convolve(data.sound()[:200], tour.echo(data.SOUND_RATE))[:200]
    np.testing.assert_allclose(np.corrcoef(hall, by_title["In a cathedral"][:200])[0, 1], 1.0, atol=1e-9)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(2.34, "2.3 seconds"), (0.0021, "2.1 thousandths of a second"), (3.2e-5, "32 millionths of a second")],
)
def test_times_are_plain_words(seconds, words):
    assert tour.duration(seconds) == words
