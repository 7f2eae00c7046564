"""Networks of files that hold arrays and no graph: checkpoints and safetensors."""

import json
import math
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import FileError
from faltung.readers.archive import broken, opened
from faltung.readers.network import Network, Node, read_only

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64, "C64": torch.complex64,
}  # fmt: skip
_HEADER = 100 << 20
_NO_GRAPH = "stored without a graph: stride, padding, groups and direction are not known"


def from_arrays(arrays: Mapping[str, Tensor], source: str, notes: tuple[str, ...] = ()) -> Network:
    """A network without edges: every array a node, those with three to five axes read as kernels."""
    nodes = []
    for name, array in arrays.items():
        shape = tuple(array.shape)
        kernel = read_only(array) if array.is_floating_point() and 2 <= len(shape) <= 5 else None
        owner = name.removesuffix(".weight")
        nodes.append(
            Node(
                owner,
                "weights",
                "array",
                dtype=str(array.dtype).removeprefix("torch."),
                kernel=kernel,
                kernel_shape=shape if kernel is not None else (),
                parameters=(name,),
                shape=shape,
                note=_NO_GRAPH if len(shape) > 2 and kernel is not None else "",
            )
        )
    parameters = {name: tuple(a.shape) for name, a in arrays.items()}
    return Network(tuple(nodes), (), (), source, notes, parameters, connected=False)


def checkpoint(path: Path) -> Network:
    """The arrays of a file of torch.save; nothing but arrays and plain containers is ever unpickled, so no code runs.

    Raises:
        FileError: it is cut off, holds other objects, or an array larger than the bytes behind it.
    """
    with path.open("rb") as file:
        packed = file.read(4) == b"PK\x03\x04"
    if packed:
        with opened(path):
            pass
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if "Unsupported" in line or "GLOBAL" in line), lines[0])[:160]
        raise FileError.of(
            "read", "a checkpoint of arrays alone", f"{path.name}, which asks for more: {reason}",
            "save model.state_dict() instead; files that could run code are not opened",
        ) from None  # fmt: skip
    except Exception as error:  # a damaged file can fail in any way
        raise broken(path, "checkpoint", error) from None
    found = dict(_flat(content, "", set()))
    for name, array in found.items():
        if array.layout == torch.strided and array.numel() * array.element_size() > array.untyped_storage().nbytes():
            raise broken(path, "checkpoint", f"{name} claims {array.numel()} numbers, more than are there")
    arrays = {name: a for name, a in found.items() if a.layout == torch.strided}
    if not arrays:
        raise broken(path, "checkpoint", f"no arrays, but {type(content).__name__}")
    lost = tuple(f"{name} is sparse and was left out" for name in found if name not in arrays)
    return from_arrays(arrays, f"a checkpoint, {path.name}", lost)


def _flat(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Arrays by dotted names, every container entered once."""
    if isinstance(value, Tensor):
        yield name or "array", value
        return
    if id(value) in seen:
        return
    if isinstance(value, Mapping):
        seen.add(id(value))
        parts = [(str(key), part) for key, part in value.items()]
        keys = [key for key, part in parts if isinstance(part, Mapping)]
        for key, part in parts:
            usual = (
                key in ("state_dict", "model", "model_state_dict", "params")
                and len(keys) == 1
                and isinstance(part, Mapping)
            )
            inner = name if usual else f"{name}.{key}" if name else key
            yield from _flat(part, inner, seen)
    elif isinstance(value, (list, tuple)):
        seen.add(id(value))
        for index, part in enumerate(value):
            yield from _flat(part, f"{name}.{index}" if name else str(index), seen)


def safetensors(path: Path) -> Network:
    """The arrays of a safetensors file, read without any package: a table of names, types and offsets, then the bytes.

    Raises:
        FileError: the table is no JSON, or its offsets leave the file, overlap, leave gaps, or do not fit the shapes.

    Source: the format's specification, github.com/huggingface/safetensors.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(size - 8, _HEADER):
            raise broken(path, "safetensors", f"a table of {length} bytes in a file of {size}")
        try:
            table = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
            entries = {name: facts for name, facts in table.items() if name != "__metadata__"}
            placed = sorted((_entry(name, facts) for name, facts in entries.items()), key=lambda e: e[3])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise broken(path, "safetensors", f"a table that is none: {error}") from None
        arrays, place = {}, 0
        for name, dtype, shape, start, stop in placed:
            count = math.prod(shape)
            if start != place or stop < start or 8 + length + stop > size or count * dtype.itemsize != stop - start:
                raise broken(path, "safetensors", f"{name} of {count} numbers lies from byte {start} to {stop}")
            place = stop
        if 8 + length + place != size:
            raise broken(path, "safetensors", f"{size - 8 - length - place} bytes that belong to no array")
    data = np.memmap(path, np.uint8, "r", 8 + length) if place else np.zeros(0, np.uint8)
    for name, dtype, shape, start, stop in placed:
        raw = torch.from_numpy(np.array(data[start:stop]))
        arrays[name] = (raw.view(dtype) if raw.numel() else torch.empty(0, dtype=dtype)).reshape(shape)
    return from_arrays(arrays, f"a safetensors file, {path.name}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name that comes twice")
    return made


def _entry(name: str, facts: Mapping[str, Any]) -> tuple[str, torch.dtype, tuple[int, ...], int, int]:
    start, stop = facts["data_offsets"]
    shape = facts["shape"]
    if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
        raise ValueError(f"sizes of {name} that are no whole numbers")
    return name, _DTYPES[facts["dtype"]], tuple(shape), start, stop
