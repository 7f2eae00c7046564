"""ONNX files run by onnxruntime, with the values of any of their nodes as results."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError, MissingExtraError
from faltung.readers.archive import broken
from faltung.readers.network import Network
from faltung.readers.onnx_file import onnx_network


@dataclass(eq=False)
class OnnxRun:
    """An ONNX file that can run.

    Fields: network: its nodes.   tensors: the name in the file of each node's first result.
    """

    network: Network
    tensors: dict[str, str]
    _model: Any = field(repr=False)
    _path: Path = field(repr=False)
    _sessions: dict[tuple[str, ...], Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path, example: Any = None) -> "OnnxRun":
        """The file, checked by the reader first: no array of it lies outside its folder.

        Raises:
            MissingExtraError: onnx or onnxruntime is not installed.   Else as `faltung.readers.read`.
        """
        try:
            import onnxruntime  # type: ignore[import-untyped]  # noqa: F401
        except ImportError:
            expected = "the package onnxruntime to run the file"
            raise MissingExtraError.of("read", expected, "none", "pip install onnxruntime") from None
        import onnx

        network, tensors = onnx_network(path, example)
        return cls(network, tensors, onnx.load(str(path)), path)

    def run(self, example: Any) -> list[Tensor]:
        """The results for an example: an array or tensor, or a tuple of them."""
        return self._ran(example, tuple(value.name for value in self._model.graph.output))

    def values(self, example: Any, names: Iterable[str]) -> dict[str, Tensor]:
        """The values of some nodes for an example."""
        asked = [name for name in names if name in self.tensors or name in self.network.inputs]
        given = dict(zip(self.network.inputs, self._arrays(example).values(), strict=False))
        inner = [name for name in asked if name in self.tensors]
        ran = self._ran(example, tuple(self.tensors[name] for name in inner)) if inner else []
        found = dict(zip(inner, ran, strict=True))
        return {name: found[name] if name in found else torch.from_numpy(given[name]) for name in asked}

    def _ran(self, example: Any, outputs: tuple[str, ...]) -> list[Tensor]:
        session = self._session(outputs)
        try:
            made = session.run(list(outputs), self._arrays(example))
        except Exception as error:  # whatever the runtime reports of shapes and types
            raise ArgumentError.of(
                "run", f"an example that {self._path.name} takes", str(error).strip().split("\n")[0], "change its sizes"
            ) from None
        return [torch.from_numpy(np.array(value)) for value in made]

    def _session(self, outputs: tuple[str, ...]) -> Any:
        if outputs not in self._sessions:
            import onnx
            import onnxruntime

            known = {value.name for value in self._model.graph.output}
            model = onnx.ModelProto()
            model.CopyFrom(self._model)
            model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(o) for o in outputs if o not in known)
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            try:
                text = model.SerializeToString()
                session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # protocol buffers and the runtime report damage in many ways
                raise broken(self._path, "ONNX", str(error).strip().split("\n")[0]) from None
            self._sessions[outputs] = session
        return self._sessions[outputs]

    def _arrays(self, example: Any) -> dict[str, np.ndarray]:
        """The example by the names of the inputs, in their types."""
        given = example if isinstance(example, (tuple, list)) else (example,)
        nodes = [self.network[name] for name in self.network.inputs]
        if len(given) != len(nodes):
            raise ArgumentError.of("run", f"{len(nodes)} arguments", str(len(given)), "pass a tuple of all")
        arrays = [value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value) for value in given]
        pairs = zip(nodes, arrays, strict=True)
        return {node.name: array.astype(node.dtype) if node.dtype else array for node, array in pairs}
