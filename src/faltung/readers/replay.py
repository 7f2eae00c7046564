"""Networks that can run, from modules and from files: values inside them for an example, by the names of their nodes."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from faltung.readers.capture import Traced, exported, traced
from faltung.readers.network import Network
from faltung.readers.undisturbed import undisturbed


class Replay(Protocol):
    """What can run an example and tell the values at nodes: `Traced`, `faltung.readers.onnx_run.OnnxRun`."""

    @property
    def network(self) -> Network:
        """The nodes."""

    def run(self, example: Any) -> list[Tensor]:
        """The results."""

    def values(self, example: Any, names: Iterable[str]) -> dict[str, Tensor]:
        """The values of some nodes, without gradients."""


def replay(source: Any, example: Any) -> Replay | None:
    """What runs a source on examples of these shapes; None for what holds no program: checkpoints, arrays, graphs.

    | source | runs by |
    |---|---|
    | torch module, `torch.export.ExportedProgram`, TorchScript | torch, node by node |
    | torch.export file | torch, node by node, of operators on a list that only compute |
    | ONNX | onnxruntime |

    Raises:
        as `faltung.readers.read`.   MissingExtraError: ONNX without onnxruntime.   ArgumentError: a torch.export file with an
        operator that is not on the list.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU())
        >>> x = torch.ones(1, 1, 5)
        >>> torch.equal(replay(net, x).values(x, ["1"])["1"], net(x))
        True
    """
    from faltung.readers.archive import kind_of

    if isinstance(source, torch.export.ExportedProgram):
        return exported(source)
    if isinstance(source, nn.Module):
        with undisturbed(source):
            return traced(source, example)
    if not isinstance(source, (str, os.PathLike)):
        return source if isinstance(source, Traced) or hasattr(source, "values") else None
    path = Path(source)
    kind = kind_of(path)
    if kind == "pt2":
        from faltung.readers.program_run import program_run

        return program_run(path)
    if kind == "onnx":
        from faltung.readers.onnx_run import OnnxRun

        return OnnxRun.open(path, example)
    if kind == "torchscript":
        from faltung.readers.script import scripted

        return traced(scripted(path), example)
    return None
