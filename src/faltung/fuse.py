"""Residual blocks in one pass: the channels in between exist for a few rows at a time and never as a whole."""

from typing import Any

from faltung.arrays import import_torch

import_torch("faltung.fuse")

import torch  # noqa: E402 - a missing torch is to be said first
from torch import Tensor, nn  # noqa: E402

from faltung.errors import ArgumentError, DtypeError  # noqa: E402
from faltung.kernels.block import on_numba as kernel  # noqa: E402
from faltung.kernels.threads import available  # noqa: E402
from faltung.nn import ConvFirstBlock, MBConvBlock  # noqa: E402
from faltung.nn.branches.merging import fold_norm, norm_scale  # noqa: E402

__all__ = ["FusedBlock", "block", "refusal"]


def block(module: nn.Module) -> "FusedBlock":
    """A block that computes what the given one does in one pass over memory; parameters are shared, not copied.

    Formula: that of `ConvFirstBlock` or `MBConvBlock`, batch norms by their running statistics.

    Args:
        module: a `faltung.nn.ConvFirstBlock` or `MBConvBlock` of float32 in the processor's memory, over one axis or two, in
            evaluation mode where it has norms.

    Returns:
        `FusedBlock(module)`. Weights and statistics that change later are seen by its next call.

    Raises:
        ArgumentError: a block that cannot be one pass; the sentence of `refusal`.

    Error: that of the unfused block, about 1e-6 of the largest value.
    Cost: multiplications as unfused; bytes of input, result and weights in place of those of every tensor in between. Weights are
        read once for each band of rows.
    Source: Lavin, On the efficiency of convolutional neural networks (2024).

    Example:
        >>> from faltung.nn import MBConvBlock
        >>> made = block(MBConvBlock(2, 8).eval())
        >>> x = torch.ones(1, 8, 5, 5)
        >>> bool((made(x) - made.block(x)).abs().max() < 1e-5)
        True
    """
    return FusedBlock(module)


def refusal(module: Any) -> str | None:
    """Why a module cannot be one pass, None where it can."""
    if type(module) not in (ConvFirstBlock, MBConvBlock):
        return f"a ConvFirstBlock or MBConvBlock is one pass, {type(module).__name__} is not known to be"
    if module.ndim > 2:
        return f"the kernel goes along one axis or two, not {module.ndim}"
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.is_floating_point() and (value.dtype != torch.float32 or not value.is_cpu):
            return f"the kernel computes float32 in the processor's memory, {name} is {value.dtype} on {value.device}"
    if any(part._forward_hooks or part._forward_pre_hooks for part in module.modules()):
        return "a hook waits for a result in between, which there would not be"
    if module.normed and any(norm.training for norm in _norms(module)):
        return "its norms are in training mode: statistics of a batch need all of the result that they are about"
    return None


class FusedBlock(nn.Module):
    """What `faltung.fuse.block` makes.

    Shapes: input (batch, channels, *n) of float32, returns the same.

    With gradients, the input is kept and nothing in between: the backward pass computes the unfused block again and takes its
    derivatives, of any order.

    Raises:
        ArgumentError: a block that cannot be one pass, when it is made, or since then (see `refusal`); an input of other sizes.
        DtypeError: an input that is not float32 in the processor's memory.
        The backward pass raises ArgumentError where the block cannot be one pass any more, or a statistic was changed since.

    Threads: as many as the policies of its convolutions allow.

    Source: as `block`.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block: Any = block
        self._agree()

    def forward(self, input: Tensor) -> Tensor:
        """The block's result."""
        self._agree()
        made = self.block
        made.expect(input, made.channels, made.ndim)
        if input.dtype != torch.float32 or not input.is_cpu:
            came = f"a tensor of {input.dtype} on {input.device}"
            raise DtypeError.of("FusedBlock", "float32 in the processor's memory", came, "call the block itself")
        parameters = dict(made.named_parameters())
        if torch.is_grad_enabled() and (input.requires_grad or any(p.requires_grad for p in parameters.values())):
            return _Recomputed.apply(made, tuple(parameters), input, *parameters.values())
        return _computed(made, input)

    def workspace(self, *sizes: int) -> int:
        """Bytes of working memory that one thread takes for an input of those spatial sizes; bounded whatever these are."""
        return self._cut(sizes).bytes

    def _cut(self, sizes: tuple[int, ...]) -> Any:
        made = self.block
        kind, group = ("first", made.group_width) if isinstance(made, ConvFirstBlock) else ("inverted", 1)
        shape = (1, made.channels, *(1,) * (2 - made.ndim), *sizes)
        return kernel.planned(kind, shape, made.wide, (*(1,) * (2 - made.ndim), *made.kernel_size), group)

    def _agree(self) -> None:
        said = refusal(self.block)
        if said is not None:
            raise ArgumentError.of("FusedBlock", "a block that one pass can compute", said, "call the block itself")


class _Recomputed(torch.autograd.Function):
    """Keeps the input and the parameters; derivatives are those of the block computed again."""

    @staticmethod
    def forward(ctx: Any, made: Any, names: tuple[str, ...], input: Tensor, *parameters: Tensor) -> Tensor:
        ctx.made, ctx.names, ctx.buffers = made, names, dict(made.named_buffers())
        ctx.versions = {name: _version(value) for name, value in ctx.buffers.items()}
        ctx.save_for_backward(input, *parameters)
        return _computed(made, input)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        _same(ctx)
        given = list(ctx.saved_tensors)
        asked = [n for n, needed in enumerate(ctx.needs_input_grad[2:]) if needed]
        further = torch.is_grad_enabled()  # these derivatives will be differentiated: they hang on what was given
        with torch.enable_grad():
            again = given if further else [g.detach().requires_grad_(n in asked) for n, g in enumerate(given)]
            values = {**ctx.buffers, **dict(zip(ctx.names, again[1:], strict=True))}
            y = torch.func.functional_call(ctx.made, values, (again[0],))
            found = iter(torch.autograd.grad(y, [again[n] for n in asked], cotangents, create_graph=further))
        return None, None, *(next(found) if n in asked else None for n in range(len(given)))


def _same(ctx: Any) -> None:
    """ArgumentError where the block computed again would not be the one that gave the result."""
    said = refusal(ctx.made)
    if said is None:
        changed = [name for name, value in ctx.buffers.items() if _version(value) != ctx.versions[name]]
        if not changed:
            return
        said = f"{changed[0]} was changed since the forward pass"
    expected = "the block as it was in the forward pass, which its derivatives compute again"
    raise ArgumentError.of("FusedBlock", expected, said, "call backward() before the block is changed")


def _version(value: Tensor) -> int:
    """How often torch has counted a change in place; it does not count those of inference tensors."""
    return 0 if value.is_inference() else value._version


@torch.no_grad()
def _computed(made: Any, input: Tensor) -> Tensor:
    """The kernel's result."""
    if not input.numel():
        return input.clone()
    flat = made.ndim == 1
    x = (input.unsqueeze(2) if flat else input).contiguous()
    operands = _first(made) if isinstance(made, ConvFirstBlock) else _inverted(made)
    arrays = [v.detach().contiguous().numpy() for v in (x, *operands)]
    run: Any = kernel.first if isinstance(made, ConvFirstBlock) else kernel.inverted
    y = torch.from_numpy(run(*arrays, made.activation, _threads(made)))
    return y.squeeze(2) if flat else y


def _threads(made: Any) -> int:
    """The least that a convolution of the block may take."""
    limits = [part.policy.threads for part in (made.widen, made.mix, made.narrow) if part.policy is not None]
    return min([available(), *(limit for limit in limits if limit is not None)])


def _norms(module: Any) -> list[nn.Module]:
    return [module.norm] if isinstance(module, ConvFirstBlock) else list(module.norms)


def _plane(kernel: Tensor, ndim: int) -> Tensor:
    """The kernel of one axis as one of two."""
    return kernel.unsqueeze(-2) if ndim == 1 else kernel


def _inverted(made: Any) -> tuple[Tensor, ...]:
    """Weights as they are, and what norms do to each channel as a factor and an offset."""
    E, C = made.wide, made.channels
    convs = made.widen, made.mix, made.narrow
    kernels = [conv.effective_kernel() for conv in convs]
    if made.normed:
        one, two, three = made.norms
        (p, a), (q, b) = norm_scale(one), norm_scale(three)
        mix, m = fold_norm(kernels[1], None, two)
    else:
        a, m, b = (conv.bias for conv in convs)
        p, q, mix = torch.ones_like(a), torch.ones_like(b), kernels[1]
    taps = _plane(mix, made.ndim).reshape(E, *_plane(mix, made.ndim).shape[2:])
    return kernels[0].reshape(E, C), p, a, taps, m, kernels[2].reshape(C, E), q, b


def _first(made: Any) -> tuple[Tensor, ...]:
    """As `_inverted`; the shortcut's scale is the last factor."""
    E, C = made.wide, made.channels
    mix, m = made.mix.effective_kernel(), made.mix.bias
    if made.normed:
        mix, m = fold_norm(mix, None, made.norm)
    b, scale = made.narrow.bias, made.residual.scale
    q = torch.ones_like(b) if scale is None else scale
    widen, narrow = made.widen.effective_kernel().reshape(E, C), made.narrow.effective_kernel().reshape(C, E)
    return _plane(mix, made.ndim), m, widen, made.widen.bias, narrow, q, b * q
