"""How each of torch's operators with settings of its own becomes a node."""

import ast
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from faltung.problem import Problem
from faltung.readers.calls import Call, Constant, Ref, Translator
from faltung.readers.network import Node, read_only

_BOUNDARIES = {
    "constant": "constant", "zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap",
}  # fmt: skip


def numbers(value: Any, ndim: int, default: int = 1) -> tuple[int, ...]:
    """One number for each axis, from torch's short forms."""
    if value is None or (isinstance(value, (list, tuple)) and not value):
        return (default,) * ndim
    if isinstance(value, (list, tuple)):
        return tuple(map(int, value)) * (ndim if len(value) == 1 else 1)
    return (int(value),) * ndim


def margins(padding: Any, taps: Sequence[int], dilation: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The margin before and after each axis, for `same` and `valid` too."""
    if isinstance(padding, str):
        total = [d * (t - 1) if padding == "same" else 0 for t, d in zip(taps, dilation, strict=True)]
        return tuple((n // 2, n - n // 2) for n in total)
    return tuple((p, p) for p in numbers(padding, len(taps), 0))


def _array(constant: Any) -> np.ndarray | None:
    return read_only(constant.value) if isinstance(constant, Constant) and constant.value is not None else None


def _shape(constant: Any, translator: Translator) -> tuple[int, ...]:
    shape = constant.shape if isinstance(constant, Constant) else translator.shapes.get(constant.name)
    return tuple(shape or ())  # type: ignore[arg-type]


def _conv(t: Translator, call: Call, signals: list[Ref]) -> Node:
    kernel, bias = t.given(call, "weight"), t.given(call, "bias")
    shape = _shape(kernel, t)
    ndim = len(shape) - 2
    transposed = bool(call.arguments.get("transposed", "transpose" in call.base))
    dilation = numbers(call.arguments.get("dilation"), ndim)
    computed = not isinstance(kernel, Constant)
    note = (
        "the kernel is computed from the signal" if computed else "" if kernel.value is not None else "values not known"
    )
    return t.add(
        call, "conv", signals, kernel=_array(kernel), kernel_shape=shape, bias=_array(bias),
        stride=numbers(call.arguments.get("stride"), ndim), dilation=dilation,
        padding=margins(call.arguments.get("padding"), shape[2:], dilation),
        output_padding=numbers(call.arguments.get("output_padding"), ndim, 0) if transposed else (),
        groups=int(call.arguments.get("groups", 1)), transposed=transposed, parameters=t.parts(kernel, bias), note=note,
    )  # fmt: skip


def _linear(t: Translator, call: Call, signals: list[Ref]) -> Node:
    names = {"linear": ("weight", "bias"), "addmm": ("mat2", "self"), "mm": ("mat2", None), "matmul": ("other", None)}[
        call.base
    ]
    kernel = t.given(call, names[0])
    bias = t.given(call, names[1]) if names[1] else None
    if not isinstance(kernel, Constant) or len(kernel.shape or ()) != 2:
        return t.add(call, "matmul", signals, parameters=t.parts(kernel, bias))
    values, shape = _array(kernel), _shape(kernel, t)
    if call.base != "linear":  # the matrix stands on the right: (in, out)
        values, shape = None if values is None else values.T, shape[::-1]
    return t.add(
        call, "linear", signals, kernel=values, kernel_shape=shape, bias=_array(bias), parameters=t.parts(kernel, bias)
    )


def _norm(t: Translator, call: Call, signals: list[Ref]) -> Node:
    roles = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
    found = {role: t.given(call, name) for role, name in roles.items()}
    values = {role: array for role, c in found.items() if (array := _array(c)) is not None}
    kind = next(k for k in ("batch", "group", "layer", "instance", "rms") if k in call.base)
    settings = {"kind": kind, "eps": call.arguments.get("eps", 1e-5)}
    settings |= {n: call.arguments[n] for n in ("num_groups", "normalized_shape") if n in call.arguments}
    training = call.arguments.get("training", call.arguments.get("use_input_stats", False))
    # Statistics of the batch, of the signal or of a group make the result depend on more than one place.
    settings["frozen"] = kind == "batch" and not training and {"mean", "var"} <= set(found) and found["var"] is not None
    return t.add(call, "norm", signals[:1], values=values, settings=settings, parameters=t.parts(*found.values()))


def _pool(t: Translator, call: Call, signals: list[Ref]) -> Node:
    a = call.arguments
    ndim = int(next((c for c in call.base if c.isdigit()), "2"))
    window = numbers(a["kernel_size"], ndim)
    stride = numbers(a.get("stride") or a["kernel_size"], ndim)
    dilation = numbers(a.get("dilation"), ndim)
    settings = {
        "window": window,
        "ceil": bool(a.get("ceil_mode")),
        "count_include_pad": bool(a.get("count_include_pad", True)),
    }
    op = "max_pool" if "max" in call.base else "avg_pool"
    return t.add(
        call, op, signals[:1], stride=stride, dilation=dilation, settings=settings,
        padding=margins(a.get("padding"), window, dilation),
    )  # fmt: skip


def _adaptive(t: Translator, call: Call, signals: list[Ref]) -> Node:
    ndim = int(next(c for c in call.base if c.isdigit()))
    settings = {
        "function": "max" if "max" in call.base else "mean",
        "size": call.arguments["output_size"],
        "axes": ndim,
    }
    return t.add(call, "adaptive_pool", signals[:1], settings=settings)


def _reduce(t: Translator, call: Call, signals: list[Ref]) -> Node:
    axes, rank = call.arguments.get("dim"), len(t.shapes.get(signals[0].name) or ())
    chosen = range(rank) if axes is None or axes == [] else axes if isinstance(axes, (list, tuple)) else (axes,)
    places = tuple(sorted(int(a) % max(rank, 1) for a in chosen))
    settings = {"function": call.base, "axes": places, "keepdim": bool(call.arguments.get("keepdim"))}
    return t.add(call, "reduce", signals[:1], settings=settings)


def _concat(t: Translator, call: Call, signals: list[Ref]) -> Node:
    rank = len(call.results[0].shape or ()) or 1
    return t.add(call, "concat", signals, settings={"axis": int(call.arguments.get("dim", 0)) % rank})


def _upsample(t: Translator, call: Call, signals: list[Ref]) -> Node:
    mode = next(m for m in ("nearest", "bilinear", "trilinear", "bicubic", "linear") if m in call.base)
    corners = bool(call.arguments.get("align_corners"))
    return t.add(call, "upsample", signals[:1], settings={"mode": mode, "align_corners": corners})


def _shuffle(t: Translator, call: Call, signals: list[Ref]) -> Node:
    factor = call.arguments.get("upscale_factor") or call.arguments.get("downscale_factor")
    return t.add(call, call.base, signals[:1], settings={"factor": factor})


def _pad(t: Translator, call: Call, signals: list[Ref]) -> Node:
    flat: Any = call.arguments.get("pad") or call.arguments.get("padding") or []
    pairs = tuple((int(flat[i]), int(flat[i + 1])) for i in range(len(flat) - 2, -1, -2))
    word = next((w for w in ("reflect", "replicat") if w in call.base), "")
    boundary = {"reflect": "reflect", "replicat": "edge"}.get(word) or _BOUNDARIES[
        call.arguments.get("mode", "constant")
    ]
    return t.add(
        call, "pad", signals[:1], padding=pairs, boundary=boundary, settings={"value": call.arguments.get("value") or 0}
    )


def _solve(t: Translator, call: Call, signals: list[Ref]) -> Node:
    """A planned convolution: a problem in one line of text."""
    problem = Problem.parse(call.arguments["problem"])
    roles, grid = problem.layout.roles, problem.grid
    kernel = t.given(call, "k")
    usual = not roles["B"] or len(roles["B"]) == 1
    usual = (
        usual and len(roles["N"]) <= 1 and len(roles["O"]) <= 1 and len(roles["C"]) <= 1 and problem.algebra == "real"
    )
    wanted = (*roles["B"], *roles["O"], *roles["C"], problem.layout.star)
    if problem.unknown == "k" or not usual or tuple(problem.layout.k) != wanted or not isinstance(kernel, Constant):
        return t.add(
            call, "unknown", signals, parameters=t.parts(kernel), note=f"a convolution of another form: {problem.text}"
        )
    sizes = problem.sizes
    shape, values = (sizes.B * sizes.O, sizes.C, *grid.t), _array(kernel)
    if values is not None:
        values = values.reshape(shape)
        if not problem.text.startswith("correlate"):
            values = np.flip(values, tuple(range(2, 2 + grid.ndim)))
    kinds = {boundary.kind for boundary, pads in zip(grid.boundary, grid.pads, strict=True) if pads != (0, 0)} or {
        "constant"
    }
    transposed = problem.unknown == "x"
    return t.add(
        call, "conv", signals, kernel=values, kernel_shape=shape, stride=grid.stride, dilation=grid.dilation, padding=grid.pads,
        groups=sizes.B, transposed=transposed, boundary=kinds.pop() if len(kinds) == 1 else "unknown",
        output_padding=(0,) * grid.ndim if transposed else (), parameters=t.parts(kernel),
    )  # fmt: skip


def _layer(t: Translator, call: Call, signals: list[Ref]) -> Node:
    """A planned convolution whose sizes were left open."""
    stride, padding, dilation, groups, mode, *more = ast.literal_eval(call.arguments["options"])
    names = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    names |= {"output_padding": more[0]} if more else {}
    inner = Call(call.word, {**call.arguments, **names}, call.results, call.scope, call.leaf)
    node = _conv(t, inner, signals)
    made = {**{f: getattr(node, f) for f in node.__dataclass_fields__}, "boundary": _BOUNDARIES[mode]}
    t.nodes[node.name] = Node(**made)
    return t.nodes[node.name]


Translation = Callable[[Translator, Call, list[Ref]], Node]
_RANKS = (1, 2, 3)
TRANSLATIONS: dict[str, Translation] = {
    **{f"conv{d}d": _conv for d in _RANKS}, **{f"conv_transpose{d}d": _conv for d in _RANKS},
    **dict.fromkeys(("convolution", "_convolution", "mkldnn_convolution", "cudnn_convolution"), _conv),
    **dict.fromkeys(("linear", "addmm", "mm", "matmul"), _linear),
    **dict.fromkeys(
        ("batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "cudnn_batch_norm",
         "instance_norm", "group_norm", "native_group_norm", "layer_norm", "native_layer_norm", "rms_norm"), _norm),
    **{f"{kind}_pool{d}d{tail}": _pool for kind in ("max", "avg") for d in _RANKS for tail in ("", "_with_indices")},
    **{f"{lead}adaptive_{kind}_pool{d}d": _adaptive for lead in ("", "_") for kind in ("max", "avg") for d in _RANKS},
    **dict.fromkeys(("mean", "sum", "amax", "amin", "logsumexp"), _reduce),
    **dict.fromkeys(("cat", "concat", "concatenate"), _concat),
    **{f"upsample_{mode}": _upsample for mode in
       ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "bicubic2d", "trilinear3d")},
    **{f"_upsample_{mode}": _upsample for mode in ("nearest_exact1d", "nearest_exact2d", "nearest_exact3d", "bilinear2d_aa")},
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _shuffle),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **{f"{kind}_pad{d}d": _pad for kind in ("reflection", "replication") for d in _RANKS},
    "faltung.solve": _solve, "faltung.layer": _layer,
}  # fmt: skip
