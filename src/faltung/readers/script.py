"""TorchScript files: looked over as archives and as programs before anything in them is run."""

import re
import warnings
from pathlib import Path
from typing import Any

import torch

from faltung.errors import FileError
from faltung.readers.archive import broken, opened
from faltung.readers.capture import capture
from faltung.readers.network import Network
from faltung.readers.stored import from_arrays

_SOURCE = 64 << 20
# What a script may not name: operators that touch files or the process, and methods that run while it is loaded.
_FORBIDDEN = {
    r"\bdef __setstate__\b": "a method that runs while the file is loaded",
    r"\b(aten|torch)\.(save|from_file|load)\b|\bops\.aten\.(save|from_file)\b": "an operator that reads or writes files",
    r"\bops\.(?!aten\b|prim\b|prims\b|torchvision\b|quantized\b|faltung\b)\w+": "an operator of another library",
}


def torchscript(path: Path, example: Any = None) -> Network:
    """The network of a TorchScript file: with an example its graph, recorded by one run; without one its arrays only.

    Raises: as `scripted`.
    """
    module = scripted(path)
    if example is None:
        arrays = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        note = "pass an example to read the graph"
        return from_arrays({n: a.detach() for n, a in arrays.items()}, f"a TorchScript file, {path.name}", (note,))
    return capture(module, example)


def scripted(path: Path) -> Any:
    """The module of a TorchScript file that only computes.

    Raises:
        FileError: the file is damaged, its program would run while it is loaded, or names operators that touch files.
    """
    with opened(path) as archive:
        sources = [m for m in archive.infolist() if m.filename.endswith(".py")]
        if sum(m.file_size for m in sources) > _SOURCE:
            raise broken(path, "TorchScript", "a program of more than 64 MiB")
        for member in sources:
            try:
                text = archive.read(member).decode("utf-8")
            except Exception as error:
                raise broken(path, "TorchScript", error) from None
            for pattern, what in _FORBIDDEN.items():
                if found := re.search(pattern, text):
                    raise FileError.of(
                        "read", "a TorchScript file that only computes", f"{path.name} with {what}: {found[0]!r}",
                        "load it yourself with torch.jit.load if you trust it, and pass the module",
                    )  # fmt: skip
    try:
        with warnings.catch_warnings():  # torch no longer wants such files to be made
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(path, map_location="cpu")
    except Exception as error:  # the loader reports damage in many ways
        raise broken(path, "TorchScript", error) from None
