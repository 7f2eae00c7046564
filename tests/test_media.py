"""Media: every kind of file gives back the dtype, values, range and metadata that it got; failures leave nothing behind."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from faltung import data, media
from faltung.errors import FileError, MissingExtraError
from faltung.media import Media, images, medium

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(dtype: str, channels: int | None, seed: int = 0) -> Media:
    shape = (13, 17) if channels is None else (13, 17, channels)
    top = np.iinfo(dtype).max
    values = np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)
    return Media(values, "image", channels, channels in (2, 4), top=float(top))


def sound(subtype: str, channels: int = 1) -> Media:
    kind, _, top = media.sounds.INTEGERS.get(subtype, ("float32" if subtype == "FLOAT" else "float64", 0, 1.0))
    rng = np.random.default_rng(3)
    shape = (500, channels)
    values = (
        rng.integers(-int(top), int(top), shape).astype(kind)
        if subtype[:3] == "PCM"
        else rng.normal(size=shape).astype(kind)
    )
    return Media(
        values, "sound", channels, top=top, metadata={"rate": 8000, "subtype": subtype, "tags": {"title": "wind"}}
    )


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
@pytest.mark.parametrize("channels", [None, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pictures_come_back_bit_for_bit(tmp_path, suffix, channels, dtype):
    given = picture(dtype, channels)
    media.write(tmp_path / f"a{suffix}", given)
    back = media.read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.array, given.array)
    assert back.array.dtype == dtype
    if suffix != ".npy":
        assert (back.kind, back.channels, back.alpha, back.top) == ("image", channels, given.alpha, given.top)


def test_sixteen_bits_in_colour_are_read_as_others_wrote_them(tmp_path):
    import cv2

    values = picture("uint16", 3).array
    cv2.imwrite(str(tmp_path / "a.png"), values[..., ::-1])
    np.testing.assert_array_equal(media.read(tmp_path / "a.png").array, values)
    media.write(tmp_path / "b.png", media.read(tmp_path / "a.png"))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)[..., ::-1], values)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_keeps_profile_resolution_text_and_exif(tmp_path, dtype):
    exif = Image.Exif()
    exif[0x010F] = "Voigt"
    said = {"icc": ICC, "dpi": (300, 300), "text": {"Title": "café", "Ort": "東京"}, "exif": exif.tobytes()}
    given = Media(picture(dtype, 3).array, "image", 3, top=255.0, metadata=said)
    for name in ("a.png", "b.png"):  # written, and written once more from what was read
        media.write(tmp_path / name, given)
        given = media.read(tmp_path / name)
        assert given.metadata["icc"] == ICC
        assert given.metadata["dpi"] == pytest.approx((300, 300), abs=0.01)
        assert given.metadata["text"] == said["text"]
        with Image.open(tmp_path / name) as written:
            written.load()
            assert written.getexif()[0x010F] == "Voigt"


def test_png_keeps_its_colour_chunks(tmp_path):
    given = Media(picture("uint8", 3).array, "image", 3, metadata={"colour": ((b"gAMA", (45455).to_bytes(4, "big")),)})
    media.write(tmp_path / "a.png", given)
    with Image.open(tmp_path / "a.png") as written:
        assert written.info["gamma"] == pytest.approx(0.45455)
    assert media.read(tmp_path / "a.png").metadata["colour"] == given.metadata["colour"]


@pytest.mark.parametrize("clear", [False, True])
def test_palettes_become_colours(tmp_path, clear):
    colours = Image.fromarray(picture("uint8", 3).array).quantize(16)
    options = {"transparency": 0} if clear else {}
    colours.save(tmp_path / "p.png", **options)
    back = media.read(tmp_path / "p.png")
    assert (back.channels, back.alpha) == ((4, True) if clear else (3, False))
    np.testing.assert_array_equal(back.array[..., :3], np.asarray(colours.convert("RGB")))
    if clear:
        np.testing.assert_array_equal(back.array[..., 3] == 0, np.asarray(colours) == 0)


def test_one_bit_pictures_become_grey(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "b.png")
    np.testing.assert_array_equal(media.read(tmp_path / "b.png").array, [[255, 0]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_upright_once(tmp_path, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[images.ORIENTATION], exif[0x010F] = orientation, "Voigt"
    Image.fromarray(np.repeat(np.repeat(picture("uint8", 3).array, 8, 0), 8, 1)).save(
        tmp_path / "a.jpg", exif=exif, quality=100
    )
    back = media.read(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as seen:
        np.testing.assert_array_equal(back.array, np.asarray(ImageOps.exif_transpose(seen)))
    media.write(tmp_path / "b.jpg", back)
    with Image.open(tmp_path / "b.jpg") as written:
        assert written.getexif().get(images.ORIENTATION, 1) == 1
        assert written.getexif()[0x010F] == "Voigt"


def test_jpeg_keeps_profile_comment_and_nearly_the_values(tmp_path):
    given = Media(data.photo(), "image", 3, top=255.0, metadata={"icc": ICC, "comment": b"a cat", "dpi": (72, 72)})
    media.write(tmp_path / "a.jpg", given)
    back = media.read(tmp_path / "a.jpg")
    assert (back.metadata["icc"], back.metadata["comment"], back.metadata["dpi"]) == (ICC, b"a cat", (72, 72))
    assert np.abs(back.array.astype(int) - given.array).mean() < 2


def test_jpeg_with_four_inks_stays_so(tmp_path):
    Image.fromarray(data.photo()).convert("CMYK").save(tmp_path / "a.jpg")
    back = media.read(tmp_path / "a.jpg")
    assert (back.channels, back.alpha) == (4, False)
    media.write(tmp_path / "b.jpg", back)
    with Image.open(tmp_path / "b.jpg") as written:
        assert written.mode == "CMYK"
    media.write(tmp_path / "c.tif", back)
    again = media.read(tmp_path / "c.tif")
    assert (again.channels, again.alpha, again.metadata["mode"]) == (4, False, "CMYK")
    np.testing.assert_array_equal(again.array, back.array)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint32"])
def test_tiff_holds_every_number_type(tmp_path, dtype):
    values = (np.random.default_rng(1).normal(size=(5, 6)) * 1000).clip(0 if dtype[0] == "u" else None).astype(dtype)
    media.write(tmp_path / "a.tif", Media(values, "image"))
    back = media.read(tmp_path / "a.tif").array
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, values)


def test_tiff_stacks_are_volumes(tmp_path):
    volume = data.volume()
    media.write(tmp_path / "a.tif", Media(volume, "image"))
    back = media.read(tmp_path / "a.tif")
    assert (back.spatial, back.channels) == (3, None)
    np.testing.assert_array_equal(back.array, volume)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_from_others_keeps_its_words(tmp_path, compression, planar):
    values = picture("uint16", 3).array
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, compression=compression, description="a walk",
        resolution=(118, 118), resolutionunit=3, iccprofile=ICC, metadata=None, extratags=[(315, "s", 0, "Voigt", True)],
    )  # fmt: skip
    for name in ("a.tif", "b.tif"):
        back = media.read(tmp_path / name)
        np.testing.assert_array_equal(back.array, values)
        said = back.metadata
        assert said["icc"] == ICC
        assert (said["description"], said["words"][315], said["resolution"][2]) == ("a walk", "Voigt", 3)
        assert said["dpi"] == pytest.approx((299.72, 299.72), abs=0.01)
        assert said["compressed"] == (compression is not None)
        media.write(tmp_path / "b.tif", back)


def test_tiff_with_multiplied_alpha_says_so_and_stays_so(tmp_path):
    values = picture("uint8", 4).array
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    back = media.read(tmp_path / "a.tif")
    assert back.alpha
    assert back.premultiplied
    media.write(tmp_path / "b.tif", back)
    assert media.read(tmp_path / "b.tif").premultiplied


def test_tiff_where_zero_is_white_is_turned(tmp_path):
    values = picture("uint8", None).array
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite", metadata=None)
    np.testing.assert_array_equal(media.read(tmp_path / "a.tif").array, 255 - values)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [(".wav", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")]
    + [(".flac", s) for s in ("PCM_S8", "PCM_16", "PCM_24")],
)
def test_sounds_come_back_bit_for_bit(tmp_path, suffix, subtype, channels):
    given = sound(subtype, channels)
    media.write(tmp_path / f"a{suffix}", given)
    back = media.read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.array, given.array)
    assert back.array.dtype == given.array.dtype
    assert back.metadata == given.metadata
    assert back.top == given.top


def test_sounds_change_their_container_where_it_holds_them(tmp_path):
    media.write(tmp_path / "a.flac", sound("PCM_U8"))
    assert media.read(tmp_path / "a.flac").metadata["subtype"] == "PCM_S8"
    with pytest.raises(FileError, match=r"write a \.wav"):
        media.write(tmp_path / "b.flac", sound("FLOAT"))


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=8),
    bits=st.sampled_from([8, 16, 24, 32]),
)
def test_samples_are_rounded_to_even_and_kept_in_range(values, bits):
    top = 2.0 ** (bits - 1)
    given = Media(np.zeros((1, 1), "int32"), "sound", 1, top=top)
    found = given.of(np.array(values)[:, None]).array[:, 0]
    expected = [int(min(max(round(v), -top), top - 1)) for v in values]
    np.testing.assert_array_equal(found, expected)


def test_pictures_are_kept_in_range_and_nan_is_black():
    given = picture("uint8", None)
    np.testing.assert_array_equal(
        given.of(np.array([-3.0, 0.5, 1.5, 254.5, 999.0, np.nan])).array, [0, 0, 2, 254, 255, 0]
    )


CANNOT = [
    ("a.jpg", picture("uint16", None)),
    ("a.jpg", picture("uint8", 4)),
    ("a.png", Media(np.zeros((2, 2)), "image")),
    ("a.png", Media(np.zeros((2, 2, 5), "u1"), "image", 5)),
    ("a.png", Media(np.zeros((2, 2, 4), "u1"), "image", 4, metadata={"mode": "CMYK"})),
    ("a.png", Media(np.zeros((2, 2, 2), "u1"), "image")),
    ("a.png", sound("PCM_16")),
    ("a.tif", sound("PCM_16")),
    ("a.tif", Media(np.zeros((2, 2), complex), "array")),
    ("a.tif", Media(np.zeros(4), "array")),
    ("a.wav", picture("uint8", None)),
    ("a.gif", picture("uint8", None)),
    ("nowhere/a.png", picture("uint8", None)),
]


@pytest.mark.parametrize(("name", "given_media"), CANNOT)
def test_what_a_format_cannot_hold_is_refused_and_nothing_is_left(tmp_path, name, given_media):
    with pytest.raises(FileError, match=r"expected .*, but got .*; .+"):
        media.check(tmp_path / name, given_media)
    with pytest.raises(FileError, match=r"expected .*, but got .*; .+"):
        media.write(tmp_path / name, given_media)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", sorted(media.SUFFIXES))
def test_damaged_files_are_one_clear_sentence(tmp_path, suffix):
    for content in (b"", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00", os.urandom(64)):
        (tmp_path / f"a{suffix}").write_bytes(content)
        with pytest.raises(FileError) as caught:
            media.read(tmp_path / f"a{suffix}")
        assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match="no such file"):
        media.read(tmp_path / f"none{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(FileError, match="a folder"):
        media.read(tmp_path / f"folder{suffix}")


def test_half_a_picture_is_refused(tmp_path):
    media.write(tmp_path / "a.png", Media(data.photo(), "image", 3))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError):
        media.read(tmp_path / "a.png")


def test_pictures_in_the_wrong_clothes_and_animations_are_refused(tmp_path):
    Image.fromarray(data.photo()).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(FileError, match="GIF"):
        media.read(tmp_path / "a.png")
    frames = [Image.fromarray(picture("uint8", 3, seed).array) for seed in range(3)]
    frames[0].save(tmp_path / "b.png", save_all=True, append_images=frames[1:])
    with pytest.raises(FileError, match="animation of 3"):
        media.read(tmp_path / "b.png")


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(FileError):
        media.read(tmp_path / "a.npy")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted() -> None:
        with medium.whole(target) as part:
            part.write_text("half")
            raise error("stop")

    with pytest.raises((error, FileError)):
        interrupted()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_writing_keeps_permissions_and_links(tmp_path):
    (tmp_path / "real.npy").write_bytes(b"")
    (tmp_path / "real.npy").chmod(0o640)
    (tmp_path / "link.npy").symlink_to(tmp_path / "real.npy")
    media.write(tmp_path / "link.npy", Media(np.ones(3), "array"))
    assert (tmp_path / "link.npy").is_symlink()
    np.testing.assert_array_equal(np.load(tmp_path / "real.npy"), np.ones(3))
    assert (tmp_path / "real.npy").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("name", "module"), [("a.png", "PIL.Image"), ("a.tif", "tifffile"), ("a.wav", "soundfile")])
def test_without_a_package_the_extra_is_named(tmp_path, monkeypatch, name, module):
    (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingExtraError, match=r"faltung\[cli\]"):
        media.read(tmp_path / name)


def test_the_sample_data_are_what_they_say():
    assert (data.photo().shape, data.photo().dtype) == ((300, 451, 3), np.uint8)
    assert data.sound().shape == (84800,)
    assert 0.1 < np.abs(data.sound()).max() <= 1.0
    assert (data.volume().shape, data.volume().dtype, data.volume().max()) == ((24, 96, 80), np.int16, 1162)
    folder = Path(data.__file__).parent
    with soundfile.SoundFile(folder / "sound.wav") as file:
        assert file.samplerate == data.SOUND_RATE
    readme = (folder / "README.md").read_text(encoding="utf-8")
    samples = [path for path in folder.iterdir() if path.suffix in (".png", ".wav", ".npz")]
    assert len(samples) == 3
    for path in samples:
        assert f"`{path.name}`" in readme
        assert path.stat().st_size < 250_000
