"""What one step of a graph does to distances: a factor, the steps it applies to, and how several of them join."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.certify import gram
from faltung.certify.affine import affine, normalisation
from faltung.certify.capture import Step
from faltung.certify.operator import copies
from faltung.certify.slopes import slope
from faltung.certify.spectral_norm import upper_bound

Found = tuple[float, Sequence[Step], str]
"""(factor, sources, how they join: `sum` of bounds, or `root` of the sum of their squares)"""

_SAME = frozenset(
    "view reshape flatten unflatten permute transpose t squeeze unsqueeze contiguous clone to alias detach _to_copy type_as "
    "select slice narrow split split_with_sizes unsafe_split chunk unbind getitem pixel_shuffle pixel_unshuffle channel_shuffle "
    "native_channel_shuffle roll flip movedim swapaxes diagonal numpy_T mT view_as reshape_as lift_fresh_copy positive "
    "amax amin".split()
)
_UPSAMPLINGS = ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d")
_DROPOUTS = frozenset("dropout feature_dropout alpha_dropout feature_alpha_dropout".split())
_POOLS = frozenset(f"aten.{name}" for n in (1, 2, 3) for name in (f"max_pool{n}d", f"max_pool{n}d_with_indices"))
_MEANS = frozenset(f"aten.avg_pool{n}d" for n in (1, 2, 3)) | frozenset(
    f"aten.adaptive_avg_pool{n}d" for n in (1, 2, 3)
)


def factor(step: Step, rtol: float) -> Found | None:
    """What is known of a step; None where there is no rule for its operator."""
    sources = step.inputs
    if isinstance(step.value, Tensor) and not step.value.is_floating_point():
        return None  # rounding to integers and comparing jump
    known = affine(step)
    if known is not None:
        return upper_bound(known.operator, known.size, rtol), [known.source], "sum"
    name = step.op.removeprefix("aten.").rstrip("_")
    if name in _SAME or (name in _DROPOUTS and not step.get("train")):
        return (1.0, sources, "sum") if len(sources) == 1 else None
    steep = slope(step)
    if steep is not None:
        return (steep, sources, "sum") if len(sources) == 1 else None
    if step.op in _POOLS:
        return overlap(step), sources, "sum"
    if step.op in _MEANS:
        return averaging(step), sources, "sum"
    rule = _RULES.get(name)
    return None if rule is None else rule(step, sources)


def overlap(step: Step) -> float:
    """√ of how many windows of a pooling share a sample."""
    kernel, stride = step.get("kernel_size"), step.get("stride") or step.get("kernel_size")
    stride = list(stride) * (len(kernel) if len(stride) == 1 else 1)
    return math.sqrt(math.prod(-(-k // s) for k, s in zip(kernel, stride, strict=True)))


def averaging(step: Step) -> float:
    """The norm of average pooling: a product over axes, each the norm of the matrix that averages that axis."""
    ndim = int(step.op[-2])
    before, adaptive = step.inputs[0].value, "adaptive" in step.op
    result = 1.0
    divisor = step.get("divisor_override")
    for axis in range(ndim):
        n = before.shape[axis - ndim]
        units = torch.eye(n, dtype=torch.float64)[:, None]
        if adaptive:
            matrix = F.adaptive_avg_pool1d(units, step.value.shape[axis - ndim])
        else:
            k, s = _entry(step.get("kernel_size"), axis), _entry(step.get("stride") or step.get("kernel_size"), axis)
            counted = bool(step.get("count_include_pad", True) or divisor)
            matrix = F.avg_pool1d(units, k, s, _entry(step.get("padding"), axis), step.get("ceil_mode", False), counted)
            matrix = matrix * k if divisor else matrix  # sums; the divisor counts once
        result *= matrix_norm(matrix[:, 0])
    return result / (abs(divisor) if divisor else 1)


def matrix_norm(matrix: Tensor) -> float:
    """The largest singular value of a matrix, rounded up."""
    found = torch.linalg.matrix_norm(matrix.to(torch.float64), 2)
    return float(found) * (1 + gram.slack(min(matrix.shape), 1, 1))


def _entry(given: Any, axis: int) -> int:
    many = list(given) if isinstance(given, (list, tuple)) else [given]
    return many[axis] if len(many) > 1 else many[0]


def _sum(step: Step, sources: list[Step]) -> Found:
    """a + alpha · b."""
    alpha = max(1.0, abs(float(step.get("alpha", 1) or 1)))
    if len(sources) == 1:
        own = 1.0 if isinstance(step.args[0], Step) else abs(float(step.get("alpha", 1)))
        return own * _spread(step, sources[0]), sources, "sum"
    return alpha * max(_spread(step, s) for s in sources), sources, "sum"


def _spread(step: Step, source: Step) -> float:
    """What broadcasting a source to the step's shape does."""
    return math.sqrt(step.value.numel() / max(1, source.value.numel()))


def _product(step: Step, sources: list[Step]) -> Found | None:
    if len(sources) != 1:
        return None
    other = next(a for a in step.args if not isinstance(a, Step))
    size = float(other.abs().max()) if isinstance(other, Tensor) else abs(float(other))
    return size * _spread(step, sources[0]), sources, "sum"


def _quotient(step: Step, sources: list[Step]) -> Found | None:
    if len(sources) != 1 or not isinstance(step.args[0], Step):
        return None
    other = step.args[1]
    size = float(other.abs().min()) if isinstance(other, Tensor) else abs(float(other))
    return (_spread(step, sources[0]) / size, sources, "sum") if size else None


def _linear(step: Step, sources: list[Step]) -> Found | None:
    weight = step.get("weight")
    return (matrix_norm(weight), sources, "sum") if len(sources) == 1 and isinstance(weight, Tensor) else None


def _matmul(step: Step, sources: list[Step]) -> Found | None:
    others = [a for a in step.args if isinstance(a, Tensor) and a.ndim == 2]
    if len(sources) != 1 or not others:
        return None
    return matrix_norm(others[-1]), sources, "sum"


def _normal(step: Step, sources: list[Step]) -> Found | None:
    """Normalisation by the sample's own mean and variance: at most 1 / √eps, attained where the sample is constant."""
    if len(sources) != 1 or not step.get("eps"):
        return None
    weight = step.get("weight")
    size = 1.0 if weight is None else float(weight.abs().max())
    return size / math.sqrt(step.get("eps")) * (1 + 1e-12), sources, "sum"


def _batch(step: Step, sources: list[Step]) -> Found | None:
    if step.get("training") or len(sources) != 1:
        return None
    return float(normalisation(step)[0].abs().max()) * (1 + 1e-12), sources, "sum"


def _mean(step: Step, sources: list[Step]) -> Found:
    count = sources[0].value.numel() / max(1, step.value.numel())
    return 1 / math.sqrt(count), sources, "sum"


def _total(step: Step, sources: list[Step]) -> Found:
    return math.sqrt(sources[0].value.numel() / max(1, step.value.numel())), sources, "sum"


def _padded(step: Step, sources: list[Step]) -> Found:
    pad, mode = list(step.get("pad")), step.get("mode", "constant")
    pairs = [(pad[2 * a], pad[2 * a + 1]) for a in range(len(pad) // 2)]
    counts = [
        copies("zeros" if mode == "constant" else mode, sources[0].value.shape[-1 - a], *p) for a, p in enumerate(pairs)
    ]
    return math.sqrt(math.prod(counts)), sources, "sum"


def _repeated(step: Step, sources: list[Step]) -> Found:
    return _spread(step, sources[0]), sources, "sum"


def _resized(step: Step, sources: list[Step]) -> Found | None:
    """Nearest and linear interpolation: a product over axes, as averaging."""
    mode = "nearest" if "nearest" in step.op else "linear"
    if "exact" in step.op:
        mode = "nearest-exact"
    ndim = step.value.ndim - 2
    result = 1.0
    for axis in range(ndim):
        units = torch.eye(sources[0].value.shape[2 + axis], dtype=torch.float64)[:, None]
        aligned = {"align_corners": bool(step.get("align_corners"))} if mode == "linear" else {}
        scales = step.get("scale_factors")
        by = {"scale_factor": scales[axis]} if scales else {"size": step.value.shape[2 + axis]}
        result *= matrix_norm(F.interpolate(units, mode=mode, **by, **aligned)[:, 0])
    return result, sources, "sum"


def _adaptive_max(step: Step, sources: list[Step]) -> Found:
    shared = 1
    kept = step.value[0] if isinstance(step.value, (tuple, list)) else step.value
    ndim = int(step.op[-2])
    for axis in range(ndim):
        n, m = sources[0].value.shape[axis - ndim], kept.shape[axis - ndim]
        windows = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        shared *= max(sum(a <= place < b for a, b in windows) for place in range(n))
    return math.sqrt(shared), sources, "sum"


def _reversed(step: Step, sources: list[Step]) -> Found:
    """b − alpha · a."""
    return max(1.0, abs(float(step.get("alpha", 1)))) * _spread(step, sources[0]), sources, "sum"


def _joined(step: Step, sources: list[Step]) -> Found:
    return 1.0, sources, "root"


def _softmax(step: Step, sources: list[Step]) -> Found:
    return 0.5, sources, "sum"


def _log_softmax(step: Step, sources: list[Step]) -> Found:
    return math.sqrt(step.value.shape[step.get("dim")]), sources, "sum"


_RULES: Mapping[str, Callable[[Step, list[Step]], Found | None]] = {
    "add": _sum, "sub": _sum, "rsub": _reversed, "mul": _product, "div": _quotient, "linear": _linear, "matmul": _matmul,
    "mm": _matmul, "layer_norm": _normal, "group_norm": _normal, "instance_norm": _normal, "batch_norm": _batch, "mean": _mean,
    "sum": _total, "pad": _padded, "expand": _repeated, "repeat": _repeated, "cat": _joined, "stack": _joined, "maximum": _joined,
    "minimum": _joined, "softmax": _softmax, "_softmax": _softmax, "log_softmax": _log_softmax,
    **dict.fromkeys([f"upsample_{kind}" for kind in _UPSAMPLINGS], _resized),
    **{f"adaptive_max_pool{n}d": _adaptive_max for n in (1, 2, 3)},
}  # fmt: skip
