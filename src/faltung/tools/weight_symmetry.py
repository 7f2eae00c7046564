"""Weights moved by a continuous group without a change of the function: `streams` and `transform_weights`."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import ChannelSphere, Conv, QuasilinearBlock
from faltung.nn.polynomial.quasilinear import folded

_CONVS = (Conv, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_POOLS = (
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
)  # fmt: skip
_IDLE = (nn.Identity, nn.Dropout)


@dataclass(frozen=True)
class Stream:
    """A stretch of a network along which x may become Qx: who writes it, who stands in it, who reads it.

    `group` is "GL", any invertible Q, or "O", orthogonal ones, where a `ChannelSphere` stands in it.
    """

    channels: int
    group: str
    writer: str
    inside: tuple[str, ...]
    reader: str


def streams(model: nn.Module) -> tuple[Stream, ...]:
    """The streams of a chain of modules whose weights `transform_weights` can move, in their order.

    A stream begins behind a convolution, a linear layer (with a batch norm, if one follows) or a `QuasilinearBlock` with a
    convolved skip, and ends before the next of these. In between may stand blocks with a plain skip, spheres, means over places.

    Args:
        model: a torch.nn.Sequential, nested or not.

    Raises:
        DtypeError: no Sequential.

    Example:
        >>> from faltung.nn.polynomial import quasilinear_network
        >>> [(s.channels, s.group) for s in streams(quasilinear_network(1, 10, (8, 16), (1, 2)))]
        [(8, 'O'), (16, 'O')]
    """
    return tuple(stream for stream, *_ in _found(_chain(model)))


@torch.no_grad()
def transform_weights(model: nn.Module, transforms: Tensor | Mapping[int, Tensor]) -> nn.Module:
    """A copy of a network of products with other weights and the same function: x ↦ Qx along its streams.

    Formula: who writes a stream gets Q·W (norms behind it are folded into it first, skips included), every block in it `A Q⁻¹` for
    its first and `Q C` for its last convolution, who reads it `W Q⁻¹`.

    Args:
        model: a torch.nn.Sequential of `QuasilinearBlock`, `ChannelSphere`, convolutions, linear layers, batch norms, means over
            places; left alone.
        transforms: Q for a model with one stream, or a Q for each stream's number; see `streams`.

    Returns:
        The copy, in evaluation mode: folded norms are those of evaluation.

    Raises:
        DtypeError: no Sequential.   ArgumentError: no such stream, a Q of another size, singular, not orthogonal across a sphere.

    Error: that of the products with Q and Q⁻¹: the condition number of Q times the rounding.
    Source: Liu et al., A novel convolutional neural network architecture with a continuous symmetry (2023).

    Example:
        >>> from faltung.nn.polynomial import quasilinear_network
        >>> model = quasilinear_network(1, 10, (8,), (2,)).double().eval()
        >>> moved = transform_weights(model, torch.linalg.qr(torch.randn(8, 8).double()).Q)
        >>> x = torch.randn(2, 1, 8, 8).double()
        >>> torch.allclose(model(x), moved(x), atol=1e-10)
        True
    """
    made = copy.deepcopy(model).eval()
    found = _found(_chain(made))
    if isinstance(transforms, Tensor):
        if len(found) != 1:
            raise ArgumentError.of(
                "transform_weights", "a Q for each stream by number where there are several", f"one Q, {len(found)} streams",
                "pass {0: Q}",
            )  # fmt: skip
        transforms = {0: transforms}
    for number, q in transforms.items():
        if not isinstance(number, int) or not 0 <= number < len(found):
            raise ArgumentError.of(
                "transform_weights", f"numbers of streams from 0 to {len(found) - 1}", repr(number), "look at streams(model)"
            )  # fmt: skip
        _refuse_unfit(q, found[number][0])
    for number, q in transforms.items():
        _, writer, norm, inside, reader = found[number]
        wide = q.double()
        back = torch.linalg.inv(wide)
        _write(writer, norm, wide)
        for block in inside:
            _read(block.first, back)
            _write(block, None, wide)
        for conv in (reader.first, reader.skip) if isinstance(reader, QuasilinearBlock) else (reader,):
            if conv is not None:
                _read(conv, back)
    return made


def _refuse_unfit(q: Any, stream: Stream) -> None:
    size = (stream.channels, stream.channels)
    if not isinstance(q, Tensor) or tuple(q.shape) != size or not q.is_floating_point():
        came = f"{tuple(q.shape)} {q.dtype}" if isinstance(q, Tensor) else type(q).__name__
        raise ArgumentError.of(
            "transform_weights", f"a real matrix {size} for the stream", came, "give one of that size"
        )
    wide = q.double()
    small = 1e-3 if q.dtype in (torch.float16, torch.bfloat16) else 1e-5
    off = (wide @ wide.T - torch.eye(stream.channels, dtype=torch.float64, device=q.device)).abs().max()
    if stream.group == "O" and not off <= small:
        raise ArgumentError.of(
            "transform_weights", "an orthogonal Q, for a sphere of channels stands in the stream", f"‖QQᵀ − I‖ = {float(off):.1e}",
            "take torch.linalg.qr(Q).Q",
        )  # fmt: skip
    condition = float(torch.linalg.cond(wide))
    if not condition < 1e12:
        raise ArgumentError.of(
            "transform_weights", "an invertible Q", f"condition number {condition:.1e}", "use another"
        )


def _chain(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules of nested Sequentials in their order, with names."""
    if not isinstance(model, nn.Sequential):
        raise DtypeError.of(
            "transform_weights", "a torch.nn.Sequential", type(model).__name__, "chain the network's parts"
        )
    parts: list[tuple[str, nn.Module]] = []
    for name, part in model._modules.items():  # named_children would leave out a module that stands there twice
        assert part is not None
        inner = _chain(part) if isinstance(part, nn.Sequential) else [("", part)]
        parts += [(f"{name}.{deep}".rstrip("."), module) for deep, module in inner]
    return parts


def _found(parts: list[tuple[str, nn.Module]]) -> list[tuple[Stream, Any, Any, list[Any], Any]]:
    """Every stream with its writer, the norm behind that, the blocks in it, and its reader."""
    results: list[tuple[Stream, Any, Any, list[Any], Any]] = []
    start: tuple[str, Any] | None = None
    norm: Any = None
    inside: list[tuple[str, Any]] = []
    sphere = False
    for name, part in parts:
        ends = isinstance(part, _CONVS) or (isinstance(part, QuasilinearBlock) and part.skip is not None)
        if ends:
            if start is not None and _reads(part) == _width(start[1]):
                stream = Stream(_width(start[1]), "O" if sphere else "GL", start[0], tuple(n for n, _ in inside), name)
                blocks = [m for _, m in inside if isinstance(m, QuasilinearBlock)]
                results.append((stream, start[1], norm, blocks, part))
            start, norm, inside, sphere = (name, part), None, [], False
        elif start is not None and isinstance(part, (QuasilinearBlock, ChannelSphere)):
            inside.append((name, part))
            sphere |= isinstance(part, ChannelSphere)
        elif (
            start is not None
            and isinstance(part, _BatchNorm)
            and norm is None
            and not inside
            and part.running_mean is not None
        ):
            norm = part
        elif not isinstance(part, (*_POOLS, *_IDLE)) and not _flattens(part):
            start = None  # an activation, say, sees single channels: no stream passes it
    # A module that stands twice in the chain has one weight for two streams.
    names = [id(m) for _, m in parts if any(True for _ in m.parameters())]
    twice = {i for i in names if names.count(i) > 1}
    return [f for f in results if not any(id(m) in twice for m in (f[1], f[4], *f[3]))]


def _flattens(part: nn.Module) -> bool:
    """Whether it is a Flatten; behind means over all places it leaves channels as they are."""
    return isinstance(part, nn.Flatten) and part.start_dim == 1


def _width(writer: Any) -> int:
    if isinstance(writer, nn.Linear):
        return writer.out_features
    return int(writer.out_channels)


def _reads(part: Any) -> int | None:
    """How many channels of each place it mixes freely; None where it reads them by groups."""
    if isinstance(part, nn.Linear):
        return part.in_features
    if isinstance(part, QuasilinearBlock):
        return part.channels
    return int(part.in_channels) if part.groups == 1 else None


def _write(writer: Any, norm: Any, q: Tensor) -> None:
    """The writer's result becomes Q times as much; norms behind its last step go into it."""
    if isinstance(writer, QuasilinearBlock):
        for name in ("last", "skip"):
            conv = getattr(writer, name)
            if conv is not None:
                _absorb(conv, dict(writer.norms).get(name))
                if name in writer.norms:
                    writer.norms[name] = nn.Identity()
                _multiply(conv, q)
        return
    _absorb(writer, norm)
    _multiply(writer, q)
    if norm is not None:
        _silence(norm)


def _absorb(conv: Any, norm: Any) -> None:
    if norm is None or isinstance(norm, nn.Identity):
        return
    weight, bias = folded(conv.weight, conv.bias, norm)
    conv.weight = nn.Parameter(weight.detach())
    conv.bias = nn.Parameter(bias.detach())


def _silence(norm: Any) -> None:
    """A batch norm that does nothing in evaluation: its place in the chain, and its name, stay."""
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    if norm.weight is not None:
        norm.weight.fill_(1)
        norm.bias.zero_()


def _multiply(conv: Any, q: Tensor) -> None:
    """Q·W and Q·b."""
    conv.weight.copy_(torch.einsum("pq,q...->p...", q, conv.weight.double()))
    if conv.bias is not None:
        conv.bias.copy_(q @ conv.bias.double())


def _read(conv: Any, back: Tensor) -> None:
    """W·Q⁻¹."""
    conv.weight.copy_(torch.einsum("oq...,qp->op...", conv.weight.double(), back))
