"""PNG and JPEG through Pillow; PNG with 16 bits in several channels, which Pillow would cut to 8, through imagecodecs."""

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import FileError
from faltung.media.medium import Media, package

SUFFIXES = (".png", ".jpg", ".jpeg")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")  # how the values mean light; carried over as they are
ORIENTATION = 0x0112
# what each EXIF orientation does to (rows, columns, ...) to make the picture upright
UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """The picture turned as an EXIF or TIFF orientation (1 to 8) asks for."""
    turn = UPRIGHT.get(orientation)
    return array if turn is None else np.ascontiguousarray(turn(array))


def read(path: Path) -> Media:
    """A picture, upright, its palette resolved, with what the file said beside the pixels."""
    image = package("PIL.Image", "pillow", "reading and writing images")
    with image.open(path) as picture:
        if picture.format not in ("PNG", "JPEG", "MPO"):
            raise FileError.of(str(path), "a PNG or JPEG file", str(picture.format), "rename it after its real format")
        if picture.format == "PNG" and getattr(picture, "n_frames", 1) > 1:
            raise FileError.of(
                str(path), "one picture", f"an animation of {picture.n_frames}", "save its frames one by one"
            )
        metadata = _metadata(picture, path)
        if picture.format == "PNG" and _bit_depth(path) == 16:
            # the pixels alone: the decoder's remarks on odd metadata would go to the terminal
            bare = SIGNATURE + b"".join(_chunk(*c) for c in _chunks(path.read_bytes()) if c[0][:1].isupper())
            array = package("imagecodecs", "imagecodecs", "reading 16-bit PNG").png_decode(bare)
        else:
            array, metadata["mode"] = _pixels(picture)
    array = upright(array, metadata.pop("orientation"))
    channels = array.shape[2] if array.ndim == 3 else None
    alpha = channels in (2, 4) and metadata.get("mode") != "CMYK"
    return Media(array, "image", channels, alpha, top=float(np.iinfo(array.dtype).max), metadata=metadata)


def check(path: Path, media: Media) -> None:
    """Raise FileError unless PNG or JPEG holds such a picture."""
    jpeg = path.suffix.lower() != ".png"
    a, name = media.array, "JPEG" if jpeg else "PNG"
    if (
        media.kind == "sound"
        or media.spatial != 2
        or (media.kind == "array" and media.channels is None and a.ndim != 2)
    ):
        raise FileError.of(
            str(path), "a picture with two axes", f"{media.kind} of shape {a.shape}", "write it as .npy or .tif"
        )
    holds = ("uint8",) if jpeg else ("uint8", "uint16")
    if str(a.dtype) not in holds:
        raise FileError.of(
            str(path), f"{' or '.join(holds)} values, as {name} holds", str(a.dtype), "write .tif or .npy"
        )
    if jpeg and media.alpha:
        raise FileError.of(
            str(path), "a picture without transparency, as JPEG holds", "an alpha channel", "write .png or .tif"
        )
    cmyk = media.channels == 4 and not media.alpha
    if media.channels not in (None, 1, 2, 3, 4) or (media.channels == 2 and not media.alpha) or (cmyk and not jpeg):
        came = "four inks (CMYK)" if cmyk else f"{media.channels} channels"
        raise FileError.of(str(path), f"grey or red-green-blue, as {name} holds", came, "write .tif or .npy")


def write(path: Path, media: Media) -> None:
    """Write pixels and metadata; JPEG at quality 95 without thinning out colours."""
    image = package("PIL.Image", "pillow", "reading and writing images")
    array = np.ascontiguousarray(media.array[..., 0] if media.channels == 1 else media.array)
    known = {name: media.metadata[name] for name in ("exif", "dpi") if media.metadata.get(name)}
    if media.metadata.get("icc"):
        known["icc_profile"] = media.metadata["icc"]
    if path.suffix.lower() == ".png":
        path.write_bytes(_png(image, array, known, media.metadata))
        return
    known |= {name: media.metadata[name] for name in ("comment", "xmp") if media.metadata.get(name)}
    picture = image.fromarray(array, "CMYK") if media.channels == 4 else image.fromarray(array)
    picture.save(path, format="JPEG", quality=95, subsampling=0, **known)


def _pixels(picture: Any) -> tuple[np.ndarray, str]:
    """The picture as uint8 or uint16 values, palettes and colour keys resolved, and its mode."""
    mode = picture.mode
    if mode.startswith("I"):
        return np.asarray(picture).astype(np.uint16), "L"
    if mode in ("P", "PA") or (mode in ("L", "RGB") and picture.has_transparency_data):
        grey = mode == "L"
        mode = ("LA" if grey else "RGBA") if picture.has_transparency_data else "RGB"
    elif mode == "1":
        mode = "L"
    elif mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        mode = "RGB"
    return np.asarray(picture if mode == picture.mode else picture.convert(mode)), mode


def _metadata(picture: Any, path: Path) -> dict[str, Any]:
    picture.load()  # PNG may say things after the pixels
    info, exif = picture.info, picture.getexif()
    orientation = int(exif.get(ORIENTATION, 1))
    found: dict[str, Any] = {"orientation": orientation, "icc": info.get("icc_profile"), "dpi": info.get("dpi")}
    if orientation != 1:
        del exif[ORIENTATION]
    # untouched, the bytes are handed on as they are: re-writing them could lose what Pillow does not know
    found["exif"] = info.get("exif") if orientation == 1 else (exif.tobytes() if len(exif) else None)
    found |= {"comment": info.get("comment"), "xmp": info.get("xmp")}
    if picture.format == "PNG":
        found["text"] = dict(picture.text)
        found["colour"] = tuple((kind, data) for kind, data in _chunks(path.read_bytes()) if kind in COLOUR_CHUNKS)
    return found


def _bit_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]


def _png(image: Any, array: np.ndarray, known: dict[str, Any], metadata: Any) -> bytes:
    """A PNG file: the pixels from one encoder, the chunks with the metadata from Pillow, put between header and pixels."""
    if array.dtype == np.uint16:
        pixels = package("imagecodecs", "imagecodecs", "writing 16-bit PNG").png_encode(array)
    else:
        pixels = _saved(image.fromarray(array))
    about = package("PIL.PngImagePlugin", "pillow", "writing PNG").PngInfo()
    for key, value in metadata.get("text", {}).items():
        about.add_itxt(key, value) if key.startswith("XML:") or not _latin(value) else about.add_text(key, value)
    carrier = _saved(image.new("L", (1, 1)), pnginfo=about, **known)
    extra = [
        *metadata.get("colour", ()),
        *((k, d) for k, d in _chunks(carrier) if k not in (b"IHDR", b"IDAT", b"IEND")),
    ]
    first, *rest = [c for c in _chunks(pixels) if c[0][:1].isupper()]  # the encoder's own remarks are not the picture's
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in (first, *extra, *rest))


def _saved(picture: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def _latin(text: str) -> bool:
    return all(ord(letter) < 256 for letter in text)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += size + 12


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
