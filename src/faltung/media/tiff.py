"""TIFF through tifffile: any number type, stacks of pages as volumes, colours, alpha and the descriptive tags."""

from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import FileError
from faltung.media.images import upright
from faltung.media.medium import Media, package

SUFFIXES = (".tif", ".tiff")
WORDS = {
    269: "document",
    271: "make",
    272: "model",
    285: "page",
    306: "date",
    315: "artist",
    316: "host",
    33432: "copyright",
}
MINISWHITE, PALETTE, SEPARATED = 0, 3, 5
ASSOCIATED, UNASSOCIATED = 1, 2


def read(path: Path) -> Media:
    """A picture or a stack of pages with its tags."""
    with _tifffile().TiffFile(path) as file:
        if len(file.series) != 1:
            raise FileError.of(
                str(path), "one picture or one stack", f"{len(file.series)} of different shapes", "split the file"
            )
        page, axes = file.pages.first, file.series[0].axes
        array = file.series[0].asarray()
        tags = {tag.code: tag.value for tag in page.tags}
        plain = not (file.is_shaped or file.is_imagej or file.is_ome)
        photometric, extra = int(page.photometric), tuple(map(int, page.extrasamples or ()))
        palette = page.colormap if photometric == PALETTE else None
    if array.dtype.kind not in "buif":
        raise FileError.of(str(path), "integers or real numbers", str(array.dtype), "write such values as .npy")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8) * np.uint8(255)
    colour = next((axis for axis in "SC" if axis in axes), None)
    if colour is not None:
        array = np.moveaxis(array, axes.index(colour), -1)
    if palette is not None:
        array = (np.moveaxis(palette, 0, -1)[array] >> 8).astype(np.uint8)
    if photometric == MINISWHITE and array.dtype.kind == "u":
        array = np.iinfo(array.dtype).max - array
    channels = array.shape[-1] if colour is not None or palette is not None else None
    if array.ndim - (channels is not None) == 2:
        array = upright(array, int(tags.get(274, 1)))
    alpha = channels in (2, 4) and extra[-1:] in ((ASSOCIATED,), (UNASSOCIATED,))
    return Media(
        np.ascontiguousarray(array), "image", channels, alpha, premultiplied=alpha and extra[-1] == ASSOCIATED,
        top=float(np.iinfo(array.dtype).max) if array.dtype.kind in "iu" else None, metadata=_metadata(tags, plain, photometric),
    )  # fmt: skip


def _metadata(tags: dict[int, Any], plain: bool, photometric: int) -> dict[str, Any]:
    found: dict[str, Any] = {"icc": tags.get(34675), "xmp": tags.get(700), "compressed": int(tags.get(259, 1)) != 1}
    found["mode"] = "CMYK" if photometric == SEPARATED else None
    if 282 in tags and 283 in tags:
        found["resolution"] = (tuple(tags[282]), tuple(tags[283]), int(tags.get(296, 2)))
        scale = {2: 1.0, 3: 2.54}.get(found["resolution"][2])
        if scale and tags[282][1] and tags[283][1]:
            found["dpi"] = tuple(scale * n / d for n, d in found["resolution"][:2])
    if plain and isinstance(tags.get(270), str):
        found["description"] = tags[270]
    found["words"] = {code: tags[code] for code in WORDS if isinstance(tags.get(code), str)}
    return found


def check(path: Path, media: Media) -> None:
    """Raise FileError unless TIFF holds such values."""
    if media.kind == "sound":
        raise FileError.of(str(path), "an image", "a sound", "write it as .wav, .flac or .npy")
    if media.array.dtype.kind not in "uif":
        raise FileError.of(str(path), "integers or real numbers, as TIFF holds", str(media.array.dtype), "write .npy")
    if media.spatial < 2:
        raise FileError.of(str(path), "at least two axes", f"shape {media.array.shape}", "write .npy")


def write(path: Path, media: Media) -> None:
    """Write values and tags, compressed without loss if the original was compressed."""
    said, array = media.metadata, media.array
    options: dict[str, Any] = {}
    if media.channels == 1:
        array = array[..., 0]
    colours = 0 if media.channels in (None, 1) else int(media.channels or 0)
    if colours - media.alpha == 3:
        options["photometric"] = "rgb"
    elif colours == 4 and said.get("mode") == "CMYK":
        options["photometric"] = "separated"
    else:
        options["photometric"] = "minisblack"
    if colours > 1 and options["photometric"] == "minisblack" and not media.alpha:
        array = np.moveaxis(array, -1, -3)  # channels without a colour meaning are pages, named as channels
        options["metadata"] = {"axes": "ZZZ"[: media.spatial - 2] + "CYX"}
    else:
        options["metadata"] = None
        if colours:
            options["planarconfig"] = "contig"
    if media.alpha:
        options["extrasamples"] = ["assocalpha" if media.premultiplied else "unassalpha"]
    if said.get("resolution"):
        options["resolution"], options["resolutionunit"] = said["resolution"][:2], said["resolution"][2]
    elif said.get("dpi"):
        options["resolution"], options["resolutionunit"] = said["dpi"], 2
    words = [(code, "s", 0, text, True) for code, text in said.get("words", {}).items()]
    if said.get("xmp"):
        words.append((700, "B", len(said["xmp"]), said["xmp"], True))
    _tifffile().imwrite(
        path, array, software=False, extratags=words, iccprofile=said.get("icc") or None,
        description=said.get("description"), compression="zlib" if said.get("compressed") else None, **options,
    )  # fmt: skip


def _tifffile() -> Any:
    return package("tifffile", "tifffile", "reading and writing TIFF")
