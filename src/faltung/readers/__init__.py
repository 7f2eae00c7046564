"""Networks read into one small graph, from torch modules and from files: checkpoints, TorchScript, torch.export, safetensors, ONNX.

`read(source, example)` is all that most callers need. No reader runs code that comes with a file; a file that is damaged, or that
could run code, gets one sentence.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faltung.arrays import import_torch
from faltung.errors import ArgumentError

import_torch("faltung.readers")

from faltung.readers.capture import Traced, arguments, capture, traced, unwrapped  # noqa: E402 - a missing torch is to be said first
from faltung.readers.network import OPS, Network, Node, read_only, shown  # noqa: E402
from faltung.readers.replay import Replay, replay  # noqa: E402
from faltung.readers.undisturbed import first_tensor, undisturbed  # noqa: E402

__all__ = [
    "OPS",
    "Network",
    "Node",
    "Replay",
    "Traced",
    "arguments",
    "capture",
    "first_tensor",
    "read",
    "read_only",
    "replay",
    "shown",
    "traced",
    "undisturbed",
    "unwrapped",
]


def read(source: Any, example: Any = None, keywords: Mapping[str, Any] | None = None) -> Network:
    """The network of a torch module or of a file; what is a network already is given back.

    | source | graph | kernels |
    |---|---|---|
    | torch module, with an example | torch.export, else a record of one run by torch.fx | yes, computed ones too |
    | torch module without an example; checkpoint; safetensors | no | yes |
    | TorchScript | with an example | yes |
    | torch.export file (.pt2), or such a program | yes | yes |
    | ONNX | yes, with an example for sizes that it leaves open | yes |

    Args:
        source: a module, an exported program, a path, or a `Network`.
        example: a tensor, or a tuple of all arguments.   keywords: further arguments.

    Raises:
        FileError: the file is damaged, of another kind, or could run code.   ArgumentError: the example does not fit, or something
        else came.   MissingExtraError: ONNX files need the package onnx.

    Example:
        >>> import torch
        >>> network = read(torch.nn.Conv2d(3, 8, 5, stride=2), torch.zeros(1, 3, 32, 32))
        >>> network.convolutions[0].shape
        (1, 8, 14, 14)
    """
    import torch

    from faltung.readers.archive import kind_of
    from faltung.readers.capture import exported
    from faltung.readers.onnx_file import onnx_file
    from faltung.readers.program import program
    from faltung.readers.script import torchscript
    from faltung.readers.stored import checkpoint, from_arrays, safetensors

    if isinstance(source, Network):
        return source
    if isinstance(source, torch.export.ExportedProgram):
        return exported(source).network
    if isinstance(source, torch.nn.Module):
        if example is not None:
            return capture(source, example, keywords)
        inner = unwrapped(source)
        arrays = {n.replace("_orig_mod.", ""): p.detach() for n, p in inner.named_parameters() if not p.is_meta}
        return from_arrays(arrays, "the parameters of a module", ("pass an example to read the graph",))
    if not isinstance(source, (str, os.PathLike)):
        raise ArgumentError.of(
            "read", "a torch module or the path of a file", type(source).__name__, "pass one of these"
        )
    path = Path(source)
    kind = kind_of(path)
    if kind == "torchscript":
        return torchscript(path, example)
    if kind == "onnx":
        return onnx_file(path, example)
    readers = {"pt2": program, "checkpoint": checkpoint, "safetensors": safetensors}
    return readers[kind](path)
