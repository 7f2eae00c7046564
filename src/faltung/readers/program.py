"""Files of torch.export: read as the JSON and raw bytes that they are, never loaded as a program, so no code runs."""

import json
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from faltung.errors import FaltungError
from faltung.readers.archive import broken, opened
from faltung.readers.calls import Call, Constant, Ref, Result, Translator
from faltung.readers.capture import is_leaf
from faltung.readers.network import Network

# Numbers of the archive's schema for types of elements.
DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 9: torch.complex32, 10: torch.complex64, 11: torch.complex128, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
_JSON = 256 << 20
_MISSING = object()


def program(path: Path) -> Network:
    """The network of a file of torch.export.save, from its description alone.

    Arrays that were stored as pickled objects are left out and named in `notes`: opening them could run code.

    Raises:
        FileError: the file is damaged, or its description is not what torch writes.
    """
    with opened(path) as archive:
        try:
            return _network(archive, path)
        except FaltungError as error:
            raise broken(path, "torch.export", error) from None
        except (
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            IndexError,
            RuntimeError,
            StopIteration,
            RecursionError,
            zipfile.BadZipFile,
        ) as error:
            raise broken(path, "torch.export", f"{type(error).__name__}: {error}") from None


def _json(archive: zipfile.ZipFile, ending: str) -> Any:
    name = next((n for n in archive.namelist() if n.endswith(ending)), None)
    if name is None:
        return None
    if archive.getinfo(name).file_size > _JSON:
        raise ValueError(f"{name} of more than 256 MiB")
    return json.loads(archive.read(name))


@dataclass(frozen=True, eq=False)
class Described:
    """What a file says: the translated network to be, and the calls, inputs, arrays and results by their names in the file."""

    translator: Translator
    calls: list[Mapping[str, Any]]
    inputs: list[str]
    constants: dict[str, Constant]
    outputs: list[Ref]
    learnt: dict[str, tuple[int, ...]]
    source: str


def described(archive: zipfile.ZipFile, path: Path) -> Described:
    """The description of the first model in an archive, translated; raises whatever damage leads to."""
    models = [n for n in archive.namelist() if re.search(r"(^|/)models/[^/]+\.json$", n)]
    if not models:
        raise ValueError("no model inside")
    whole = _json(archive, models[0])["graph_module"]
    graph, signature = whole["graph"], whole["signature"]
    name = Path(models[0]).stem
    notes: list[str] = []
    arrays: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {}
    for kind in ("weights", "constants"):
        config = _json(archive, f"data/{kind}/{name}_{kind}_config.json") or {"config": {}}
        for key, facts in config["config"].items():
            arrays[key] = _array(archive, kind, key, facts, notes)
    learnt, constants, inputs = _inputs(signature, arrays)
    stored = dict(constants)
    translator = Translator(constants)
    translator.notes += notes
    values = graph["tensor_values"]
    for entry in inputs:
        translator.enter(_result(entry, values))
    read = set(re.findall(r'"name": ?"([^"]+)"', json.dumps([[n["inputs"] for n in graph["nodes"]], graph["outputs"]])))
    for node in graph["nodes"]:
        translator.read(_call(node, values, read))
    outputs = [Ref(o["as_tensor"]["name"]) for o in graph["outputs"] if "as_tensor" in o]
    source = f"a torch.export file, {path.name}"
    return Described(translator, graph["nodes"], inputs, stored, outputs, learnt, source)


def _network(archive: zipfile.ZipFile, path: Path) -> Network:
    found = described(archive, path)
    return found.translator.network(found.outputs, found.source, found.learnt)


def _array(
    archive: zipfile.ZipFile, kind: str, key: str, facts: Mapping[str, Any], notes: list[str]
) -> tuple[Tensor | None, tuple[int, ...]]:
    meta = facts["tensor_meta"]
    shape = tuple(int(s["as_int"]) for s in meta["sizes"]) if meta else ()
    if facts["use_pickle"] or not meta:
        notes.append(f"{key} is a pickled object and was not opened")
        return None, shape
    member = next(n for n in archive.namelist() if n.endswith(f"data/{kind}/{facts['path_name']}"))
    raw = archive.read(member)
    strides = tuple(int(s["as_int"]) for s in meta["strides"])
    offset, dtype = int(meta["storage_offset"]["as_int"]), DTYPES[int(meta["dtype"])]
    if min((*shape, *strides, offset), default=0) < 0:
        raise ValueError(f"negative sizes of {key}")
    if not math.prod(shape):
        return torch.empty(shape, dtype=dtype), shape
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    if max(last, math.prod(shape)) * dtype.itemsize > len(raw):
        raise ValueError(f"{key} claims more numbers than are there")
    flat = torch.frombuffer(bytearray(raw), dtype=dtype)
    return flat.as_strided(shape, strides, offset), shape


def _inputs(
    signature: Mapping[str, Any], arrays: Mapping[str, tuple[Tensor | None, tuple[int, ...]]]
) -> tuple[dict[str, tuple[int, ...]], dict[str, Constant], list[str]]:
    learnt, constants, inputs = {}, {}, []
    for spec in signature["input_specs"]:
        ((kind, body),) = spec.items()
        if kind == "user_input":
            argument = body["arg"]
            if "as_tensor" in argument:
                inputs.append(argument["as_tensor"]["name"])
            continue
        key = next((body[n] for n in ("parameter_name", "buffer_name", "tensor_constant_name") if n in body), None)
        if key is None or key not in arrays or "name" not in body.get("arg", {}):
            continue
        value, shape = arrays[key]
        is_parameter = kind == "parameter"
        constants[body["arg"]["name"]] = Constant(value, shape, (key,) if is_parameter else ())
        if is_parameter:
            learnt[key] = shape
    return learnt, constants, inputs


def _result(name: str, values: Mapping[str, Any]) -> Result:
    facts = values.get(name)
    if facts is None:
        return Result(name, None, "")
    shape = tuple(int(s["as_int"]) if "as_int" in s else None for s in facts["sizes"])
    return Result(name, shape, str(DTYPES.get(int(facts["dtype"]), "")).removeprefix("torch."))


def _call(node: Mapping[str, Any], values: Mapping[str, Any], read: set[str]) -> Call:
    match = re.fullmatch(r"torch\.ops\.(aten|faltung)\.(\w+)\.(\w+)", node["target"])
    results = []
    for output in node["outputs"]:
        names = (
            [output["as_tensor"]["name"]]
            if "as_tensor" in output
            else [t["name"] for t in output.get("as_tensors", [])]
        )
        results += [_result(n, values) for n in names]
    results = [r if r.name in read or i == 0 else Result("", r.shape, r.dtype) for i, r in enumerate(results)]
    stack = [part.split(",") for part in node["metadata"].get("nn_module_stack", "").split(";")]
    scope = stack[-1][1].partition("@")[0] if len(stack[-1]) > 2 else ""
    leaf = len(stack[-1]) > 2 and is_leaf(stack[-1][-1])
    given = {entry["name"]: _argument(entry["arg"]) for entry in node["inputs"]}
    written: tuple[str, ...] = ()
    views, fold, word = False, None, node["target"].removeprefix("torch.ops.")
    packet = getattr(getattr(torch.ops, match[1]), match[2], None) if match else None
    if match and packet is not None and match[3] in packet.overloads():
        schema = getattr(packet, match[3])._schema
        word = f"{match[1]}.{match[2]}"
        defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        given = {
            a.name: given.get(a.name, defaults.get(a.name))
            for a in schema.arguments
            if a.name in given or a.name in defaults
        }
        written = tuple(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
        views = any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
        fold = _views.get(match[2])
    return Call(word, given, tuple(results), scope, leaf, written, views, fold)


# Operators on constants that are carried out while reading: views, which can neither take long nor need memory, and what
# parametrisations of torch make kernels with.
_views = {
    "t": lambda a: a["self"].t(),
    "transpose": lambda a: a["self"].transpose(a["dim0"], a["dim1"]),
    "permute": lambda a: a["self"].permute(a["dims"]),
    "view": lambda a: a["self"].reshape(a["size"]),
    "reshape": lambda a: a["self"].reshape(a["shape"]),
    "unsqueeze": lambda a: a["self"].unsqueeze(a["dim"]),
    "detach": lambda a: a["self"],
    "_weight_norm": lambda a: torch._weight_norm(a["v"], a["g"], a["dim"]),
}


def _argument(argument: Mapping[str, Any]) -> Any:
    """An argument of the description: tensors as references, numbers and words as they are."""
    ((kind, value),) = argument.items()
    if kind == "as_none":
        return None
    if kind == "as_tensor":
        return Ref(value["name"])
    if kind == "as_tensors":
        return [Ref(t["name"]) for t in value]
    if kind == "as_optional_tensors":
        return [Ref(t["as_tensor"]["name"]) if "as_tensor" in t else None for t in value]
    if kind in (
        "as_int",
        "as_float",
        "as_bool",
        "as_string",
        "as_ints",
        "as_floats",
        "as_bools",
        "as_strings",
        "as_complex",
    ):
        return value
    if kind == "as_sym_ints":
        return [v.get("as_int") for v in value]
    return None
