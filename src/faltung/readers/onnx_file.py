"""ONNX files as networks: the operators of the standard that convolutional networks use, by one table."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import ArgumentError, FaltungError, MissingExtraError
from faltung.readers.archive import broken
from faltung.readers.network import Network, Node, Shape, read_only, shown

_SIMPLE = {
    **dict.fromkeys(
        """Relu LeakyRelu PRelu Elu Selu Celu Gelu Sigmoid Tanh HardSigmoid HardSwish Mish Softplus Softsign Clip Abs Exp Log Sqrt
        Reciprocal Pow Neg Erf Sin Cos ThresholdedRelu Floor Ceil Round Sign""".split(), "activation"),
    **dict.fromkeys("Add Sub".split(), "add"), **dict.fromkeys("Mul Div".split(), "mul"), "Sum": "add",
    **dict.fromkeys("Max Min Where Mean Greater Less Equal And Or Mod".split(), "merge"),
    **dict.fromkeys("Identity Dropout Cast".split(), "same"),
    **dict.fromkeys("Reshape Flatten Squeeze Unsqueeze".split(), "reshape"), "Transpose": "permute",
    **dict.fromkeys("Slice Gather Split GatherND GatherElements".split(), "slice"),
    **dict.fromkeys("Expand Tile".split(), "expand"),
    **dict.fromkeys("Softmax LogSoftmax".split(), "softmax"),
}  # fmt: skip
_REDUCE = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "amax", "ReduceMin": "amin"}


def onnx_file(path: Path, example: Any = None) -> Network:
    """The network of an ONNX file; see `onnx_network`."""
    return onnx_network(path, example)[0]


def onnx_network(path: Path, example: Any = None) -> tuple[Network, dict[str, str]]:
    """The network of an ONNX file, and the name in the file of each node's first result.

    Arrays beside the file are read only from its own folder. Shapes are those that the format's own inference finds; many files
    leave the sizes of their inputs open, and an example, array or tensor, or a tuple of them, says them.

    Raises:
        FileError: it is damaged, or points to files elsewhere.   ArgumentError: the example does not fit the inputs.
        MissingExtraError: the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError.of("read", "the package onnx", "none", "pip install onnx") from None
    try:
        model = onnx.load(str(path), load_external_data=False)
        if not model.graph.node or not model.ir_version:
            raise ValueError("no graph inside")
        if example is not None:
            _sized(model.graph, example)
        shapes = onnx.shape_inference.infer_shapes(model, data_prop=True)
        reader = _Reader(shapes, path)
        return reader.network(), reader.tensors
    except FaltungError:
        raise
    except Exception as error:  # protocol buffers report damage in many ways
        raise broken(path, "ONNX", f"{type(error).__name__}: {error}") from None


def _sized(graph: Any, example: Any) -> None:
    """Write the example's shapes into the graph's inputs, so that inference can go on from them."""
    stored = {tensor.name for tensor in graph.initializer}
    open_ones = [value for value in graph.input if value.name not in stored]
    given = example if isinstance(example, (tuple, list)) else (example,)
    if len(given) > len(open_ones):
        raise ArgumentError.of(
            "read", f"at most {len(open_ones)} arguments for this file", f"{len(given)}", "leave some out"
        )
    for value, one in zip(open_ones, given, strict=False):
        dims = value.type.tensor_type.shape.dim
        fixed = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims)
        if len(fixed) != len(one.shape) or any(f not in (None, n) for f, n in zip(fixed, one.shape, strict=True)):
            raise ArgumentError.of(
                "read", f"an example of shape {shown(fixed)} for {value.name}", shown(one.shape), "change its sizes"
            )
        for d, n in zip(dims, one.shape, strict=True):
            d.Clear()
            d.dim_value = int(n)
    for value in (*graph.value_info, *graph.output):  # what the file claims about open sizes would contradict
        for d in value.type.tensor_type.shape.dim:
            if not (d.HasField("dim_value") and d.dim_value > 0):
                d.Clear()


class _Reader:
    def __init__(self, model: Any, path: Path) -> None:
        import onnx

        self.path, self.graph = path, model.graph
        self.attributes_of: Callable[[Any], Any] = onnx.helper.get_attribute_value
        self.constants = {tensor.name: self._tensor(tensor) for tensor in self.graph.initializer}
        self.learnt = {name: tuple(a.shape) for name, a in self.constants.items() if a.dtype.kind == "f"}
        self.shapes: dict[str, Shape] = {name: a.shape for name, a in self.constants.items()}
        self.dtypes: dict[str, str] = {}
        for value in (*self.graph.input, *self.graph.value_info, *self.graph.output):
            kind = value.type.tensor_type
            if kind.HasField("shape"):
                self.shapes[value.name] = tuple(
                    d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in kind.shape.dim
                )
            if kind.elem_type:
                self.dtypes[value.name] = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
        self.producer: dict[str, str] = {}
        self.nodes: dict[str, Node] = {}
        self.tensors: dict[str, str] = {}

    def _tensor(self, tensor: Any) -> np.ndarray:
        """The numbers of a stored array, inside the file or beside it."""
        import onnx

        count = math.prod(tensor.dims)
        where = {entry.key: entry.value for entry in tensor.external_data}
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if where:
            folder = self.path.resolve().parent
            target = (folder / where["location"]).resolve()
            if folder not in target.parents:
                raise broken(self.path, "ONNX", f"numbers of {tensor.name} outside its folder: {where['location']}")
            offset, length = int(where.get("offset", 0)), int(where.get("length", 0))
            if not target.is_file() or offset + count * dtype.itemsize > target.stat().st_size:
                raise broken(self.path, "ONNX", f"{tensor.name} claims more numbers than {where['location']} holds")
            if length and length != count * dtype.itemsize:
                raise broken(self.path, "ONNX", f"{length} bytes for {count} numbers of {tensor.name}")
            return read_only(np.fromfile(target, dtype, count, offset=offset).reshape(tuple(tensor.dims)))
        if tensor.raw_data and len(tensor.raw_data) * 8 < count * max(
            dtype.itemsize * 8 if dtype.itemsize > 1 else 4, 1
        ):
            raise broken(self.path, "ONNX", f"{tensor.name} claims {count} numbers, more than are there")
        return read_only(onnx.numpy_helper.to_array(tensor))

    def network(self) -> Network:
        for value in self.graph.input:
            if value.name not in self.constants:
                shape = self.shapes.get(value.name)
                self.nodes[value.name] = Node(
                    value.name, "input", "input", (), (), shape, self.dtypes.get(value.name, "")
                )
                self.producer[value.name] = value.name
        for node in self.graph.node:
            self._read(node)
        inputs = tuple(n.name for n in self.nodes.values() if n.op == "input")
        outputs = tuple(self.producer[o.name] for o in self.graph.output if o.name in self.producer)
        used = {p for n in self.nodes.values() for p in n.parameters}
        learnt = {name: shape for name, shape in self.learnt.items() if name in used}
        return Network(tuple(self.nodes.values()), inputs, outputs, f"an ONNX file, {self.path.name}", (), learnt)

    def _read(self, node: Any) -> None:
        given = {a.name: self.attributes_of(a) for a in node.attribute}
        signals = [name for name in node.input if name in self.producer]
        if node.op_type == "Constant" and "value" in given:
            array = self.constants[node.output[0]] = self._tensor(given["value"])
            self.shapes[node.output[0]] = array.shape
            if array.dtype.kind == "f" and array.size > 1:  # some exporters keep weights in the graph
                self.learnt[node.output[0]] = array.shape
            return
        if not signals:
            if node.op_type in ("Identity", "Cast") and node.input and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
            return
        parameters = tuple(dict.fromkeys(name for name in node.input if name in self.learnt))
        fields = self._fields(node, given, signals)
        op = fields.pop("op")
        owner = parameters[0].rpartition(".")[0] if parameters and "." in parameters[0] else node.name or node.output[0]
        name, count = owner, 1
        while name in self.nodes:
            count += 1
            name = f"{owner}:{count}"
        first = node.output[0]
        self.nodes[name] = Node(
            name, op, f"onnx.{node.op_type}", tuple(self.producer[s] for s in signals), tuple(self.shapes.get(s) for s in signals),
            self.shapes.get(first), self.dtypes.get(first, ""), parameters=parameters, **fields,
        )  # fmt: skip
        self.tensors[name] = first
        for output in node.output:
            self.producer[output] = name

    def _fields(self, node: Any, given: Mapping[str, Any], signals: Sequence[str]) -> dict[str, Any]:
        """What a node is, by its operator."""
        kind, inputs = node.op_type, list(node.input)
        array = [self.constants.get(name) for name in inputs]
        if kind in ("Conv", "ConvTranspose"):
            return self._conv(kind, inputs, array, given, node)
        if kind in ("Gemm", "MatMul") and len(array) > 1 and array[1] is not None and array[1].ndim == 2:
            kernel = array[1] if given.get("transB") else array[1].T
            bias = array[2] if len(array) > 2 else None
            return {"op": "linear", "kernel": read_only(kernel), "kernel_shape": kernel.shape, "bias": bias}
        if kind in ("MatMul", "Gemm", "Einsum"):
            return {"op": "matmul"}
        if kind in ("MaxPool", "AveragePool", "LpPool"):
            return self._pool(kind, inputs, given)
        if kind in ("GlobalAveragePool", "GlobalMaxPool"):
            rank = len(self.shapes.get(inputs[0]) or ())
            settings = {
                "function": "mean" if "Average" in kind else "amax",
                "axes": tuple(range(2, rank)),
                "keepdim": True,
            }
            return {"op": "reduce" if rank else "unknown", "settings": settings}
        if kind in _REDUCE:
            return self._reduce(kind, inputs, array, given)
        if kind == "BatchNormalization":
            roles = ("gamma", "beta", "mean", "var")
            values = {n: a for n, a in zip(roles, array[1:5], strict=True) if a is not None}
            settings = {"kind": "batch", "eps": given.get("epsilon", 1e-5), "frozen": len(values) == 4}
            return {"op": "norm", "values": values, "settings": settings}
        if kind in ("InstanceNormalization", "LayerNormalization", "GroupNormalization"):
            return {"op": "norm", "settings": {"kind": kind[: -len("Normalization")].lower(), "frozen": False}}
        if kind == "Concat":
            rank = len(self.shapes.get(node.output[0]) or ()) or 1
            return {"op": "concat", "settings": {"axis": given["axis"] % rank}}
        if kind == "Pad":
            return self._pad(array, inputs, given)
        if kind in ("Resize", "Upsample"):
            mode = given.get("mode", b"nearest").decode()
            mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
            corners = given.get("coordinate_transformation_mode") == b"align_corners"
            return {"op": "upsample", "settings": {"mode": mode, "align_corners": corners}}
        if kind in ("DepthToSpace", "SpaceToDepth"):
            op = "pixel_shuffle" if kind == "DepthToSpace" else "pixel_unshuffle"
            return {"op": op, "settings": {"factor": given["blocksize"], "order": given.get("mode", b"DCR").decode()}}
        op = _SIMPLE.get(kind, "unknown")
        fixed = next((a for a in array if a is not None), None)
        operand = {"operand": fixed} if len(signals) == 1 and fixed is not None and op in ("add", "mul") else {}
        return {"op": op, "values": operand, "settings": {k: v for k, v in given.items() if isinstance(v, (int, float, list))},
                "note": f"no rule for onnx.{kind}" if op == "unknown" else ""}  # fmt: skip

    def _conv(
        self, kind: str, inputs: list[str], array: list[Any], given: Mapping[str, Any], node: Any
    ) -> dict[str, Any]:
        shape: tuple[int, ...] = tuple(n for n in self.shapes.get(inputs[1]) or () if n is not None)
        if len(shape) < 3 or len(shape) != len(self.shapes.get(inputs[1]) or ()):
            return {"op": "unknown", "note": "a convolution whose kernel has no known shape"}
        ndim, transposed = len(shape) - 2, kind == "ConvTranspose"
        dilation, stride = tuple(given.get("dilations", (1,) * ndim)), tuple(given.get("strides", (1,) * ndim))
        padding, note = self._margins(given, shape[2:], stride, dilation, inputs[0], transposed)
        return {
            "op": "conv", "kernel": array[1], "kernel_shape": shape, "bias": array[2] if len(array) > 2 else None, "stride": stride,
            "dilation": dilation, "padding": padding, "groups": given.get("group", 1), "transposed": transposed,
            "output_padding": tuple(given.get("output_padding", (0,) * ndim)) if transposed else (),
            "note": note if array[1] is not None else "the kernel is computed by the graph: values not known",
        }  # fmt: skip

    def _margins(
        self,
        given: Mapping[str, Any],
        taps: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        signal: str,
        transposed: bool,
    ) -> tuple[tuple[tuple[int, int], ...], str]:
        """The margins, from numbers or from the standard's words for equal sizes."""
        ndim, auto = len(taps), given.get("auto_pad", b"NOTSET").decode()
        flat = given.get("pads", [0] * (2 * ndim))
        if auto in ("NOTSET", "VALID"):
            return tuple((flat[a], flat[a + ndim]) if auto == "NOTSET" else (0, 0) for a in range(ndim)), ""
        sizes = (self.shapes.get(signal) or (None,) * (ndim + 2))[2:]
        if None in sizes or transposed:
            return ((0, 0),) * ndim, f"margins by {auto} for sizes that are not known"
        pairs = []
        for n, t, s, d in zip(sizes, taps, stride, dilation, strict=True):
            total = max((math.ceil(n / s) - 1) * s + (t - 1) * d + 1 - n, 0)  # type: ignore[operator]
            small = total // 2
            pairs.append((small, total - small) if auto == "SAME_UPPER" else (total - small, small))
        return tuple(pairs), ""

    def _pool(self, kind: str, inputs: list[str], given: Mapping[str, Any]) -> dict[str, Any]:
        window = tuple(given["kernel_shape"])
        ndim = len(window)
        stride, dilation = tuple(given.get("strides", (1,) * ndim)), tuple(given.get("dilations", (1,) * ndim))
        padding, note = self._margins(given, window, stride, dilation, inputs[0], False)
        settings = {
            "window": window,
            "ceil": bool(given.get("ceil_mode")),
            "count_include_pad": bool(given.get("count_include_pad")),
        }
        op = {"MaxPool": "max_pool", "AveragePool": "avg_pool"}.get(kind, "unknown")
        return {
            "op": op,
            "stride": stride,
            "dilation": dilation,
            "padding": padding,
            "settings": settings,
            "note": note,
        }

    def _reduce(self, kind: str, inputs: list[str], array: list[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        rank = len(self.shapes.get(inputs[0]) or ())
        listed = given.get("axes", array[1].tolist() if len(array) > 1 and array[1] is not None else None)
        if not rank or (listed is None and len(inputs) > 1):
            return {"op": "unknown", "note": "a reduction over axes that are not known"}
        axes = tuple(sorted(a % rank for a in (range(rank) if listed is None else listed)))
        return {
            "op": "reduce",
            "settings": {"function": _REDUCE[kind], "axes": axes, "keepdim": bool(given.get("keepdims", 1))},
        }

    def _pad(self, array: list[Any], inputs: list[str], given: Mapping[str, Any]) -> dict[str, Any]:
        flat = given.get("pads", array[1].tolist() if len(array) > 1 and array[1] is not None else None)
        if flat is None:
            return {"op": "unknown", "note": "a margin of unknown size"}
        rank = len(flat) // 2
        boundary = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}[
            given.get("mode", b"constant").decode()
        ]
        pairs = tuple((flat[a], flat[a + rank]) for a in range(rank))
        lead = next((i for i, pair in enumerate(pairs) if pair != (0, 0)), rank)
        return {"op": "pad", "padding": pairs[lead:], "boundary": boundary, "settings": {"value": 0.0}}
