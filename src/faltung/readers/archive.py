"""What a file claims to be, and archives that are looked over before anything in them is read."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faltung.errors import FileError

EXPANSION = 64  # times that an archive may grow while it is unpacked; arrays are stored, only source text is compressed
_SLACK = 1 << 26


def kind_of(path: Path) -> str:
    """`torchscript`, `pt2`, `checkpoint`, `safetensors` or `onnx`, by what the file holds; its name decides nothing.

    Raises:
        FileError: there is no such file, or it holds none of these.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise FileError.of("read", "a file that can be opened", f"{path}: {error.strerror}", "check the path") from None
    if head[:4] == b"PK\x03\x04":
        with opened(path) as archive:
            names = archive.namelist()
        if any("/code/" in n or n.startswith("code/") for n in names):
            return "torchscript"
        if any(n.endswith("archive_format") or "/models/" in n for n in names):
            return "pt2"
        if any(n.endswith("data.pkl") for n in names):
            return "checkpoint"
        raise wrong(path, "an archive of something else")
    if head[:1] == b"\x80":
        return "checkpoint"
    if len(head) > 8 and head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") <= size - 8:
        return "safetensors"
    if head[:1] == b"\x08" and len(head) > 2:
        return "onnx"
    raise wrong(path, "an empty file" if not head else f"one that begins with {head[:4]!r}")


def wrong(path: Path, came: str) -> FileError:
    """The error for a file of another kind."""
    return FileError.of(
        "read", "a checkpoint, TorchScript, torch.export, safetensors or ONNX file", f"{came} ({path.name})",
        "save the model again, or pass the torch module itself",
    )  # fmt: skip


def broken(path: Path, kind: str, came: object) -> FileError:
    """The error for a file that is not whole or lies about itself."""
    lines = [line.strip() for line in str(came).splitlines() if line.strip()]
    said = lines[0][:200] if lines else type(came).__name__
    return FileError.of("read", f"a whole {kind} file", f"{path.name}: {said}", "fetch or save the file again")


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive whose table of contents is believable.

    Raises:
        FileError: it is cut off, grows out of proportion, says one stretch of the file is several members, or leaves its folder.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
        raise broken(path, "archive", error) from None
    with archive:
        size, members = path.stat().st_size, archive.infolist()
        held, grown = sum(m.compress_size for m in members), sum(m.file_size for m in members)
        if held > size:
            raise broken(path, "archive", f"its members claim {held} bytes of {size}")
        if grown > EXPANSION * size + _SLACK or any(
            m.file_size > EXPANSION * max(m.compress_size, 1) + _SLACK for m in members
        ):
            raise broken(path, "archive", f"{size} bytes would unpack to {grown}")
        if any(m.filename.startswith(("/", "\\")) or ".." in Path(m.filename).parts for m in members):
            raise broken(path, "archive", "a member would leave its folder")
        if len({m.filename for m in members}) != len(members):
            raise broken(path, "archive", "two members with one name")
        yield archive
