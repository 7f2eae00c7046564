"""Moving the kernel of one convolution into the parameters of another layer."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, lsmr
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.base import ConvLayer
from faltung.nn.exchange import dense

# Products with a linear problem's matrix before it counts as ill-conditioned; up to how many unknowns it is then written down.
STEPS, DENSE, ENTRIES = 300, 512, 1 << 22
# What is not linear: products with each group's matrix, steps of L-BFGS, and least progress of a round that leads to another.
TURN, DESCENT, PROGRESS = 30, 25, 1e-3


def fit(layer: ConvLayer, kernel: Tensor, bias: Tensor | None = None, rounds: int = 12) -> float:
    """Set a layer's parameters so that its effective kernel and bias come as close as they can to given ones.

    Formula: the parameters p minimise `‖effective_kernel(p) − kernel‖² + ‖effective_bias(p) − bias‖²`. Where both are affine in all
    of p, this is a linear least-squares problem, solved exactly; of its solutions the nearest to the present parameters is taken.
    Else p falls into groups in each of which they are affine: these are solved in turn, and L-BFGS moves what is left, from the
    present values on, to a minimum that need not be the lowest.

    Shapes: kernel like the layer's effective kernel, or (out, in, *t) without groups; bias (out), None for zeros.

    Args:
        layer: a `ConvLayer`; changed in place. Parameters that require no gradient stay as they are.
        kernel, bias: what it should have.
        rounds: how often at most all groups take their turns, where one is not enough. Default 12.

    Returns:
        The relative difference `‖effective_kernel − kernel‖ / ‖kernel‖` that is left.

    Raises:
        ArgumentError: a kernel of another shape.   DtypeError: a layer that is no `ConvLayer`, such as a filter over all of time.

    Error: the problem is solved in float64, and the parameters are rounded to their own type.

    Cost: some kernels and their gradients where the problem is linear and well-conditioned, else up to about 100 a round.

    Example:
        >>> from faltung.nn import Conv2d
        >>> fit(Conv2d(2, 3, 3), torch.ones(3, 2, 3, 3)) < 1e-6
        True
    """
    if not isinstance(layer, ConvLayer):
        raise DtypeError.of("fit", "a layer with one effective kernel", type(layer).__name__, "pass a ConvLayer")
    training = layer.training
    work = _double(copy.deepcopy(layer).eval())
    names = [name for name, p in work.named_parameters() if p.requires_grad]
    values = {name: work.get_parameter(name).detach().clone() for name in names}
    target = _vector(kernel.detach(), None if bias is None else bias.detach(), work)
    seen = _Seen(work, tuple(kernel.shape))

    def made(some: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(seen, {f"layer.{name}": value for name, value in some.items()}, ())

    made(values)  # raises before anything is changed
    for name, value in _fitted(made, values, target, rounds).items():
        with torch.no_grad():
            own = layer.get_parameter(name)
            own.copy_(value.to(own.dtype))
    off = difference(layer.eval(), kernel)
    layer.train(training)
    return off


@torch.no_grad()
def difference(layer: Any, kernel: Tensor) -> float:
    """How far the layer's effective kernel is from another one, relative to that, as 2-norms."""
    wide = torch.promote_types(kernel.dtype, torch.float64)
    ours = _shaped(layer, tuple(kernel.shape)).to(wide)
    return ((ours - kernel.to(wide)).norm() / kernel.to(wide).norm().clamp(min=1e-300)).item()


def _shaped(layer: Any, shape: tuple[int, ...]) -> Tensor:
    """The layer's effective kernel as it is, or as one of a single group, where that has the shape."""
    kernel = layer.effective_kernel()
    whole = kernel if tuple(kernel.shape) == shape or layer.groups == 1 else dense(kernel, layer.groups)
    if tuple(whole.shape) != shape:
        raise ArgumentError.of(
            "fit", f"a kernel of shape {tuple(kernel.shape)}", f"shape {shape}",
            "choose settings with which the kernels have one shape",
        )  # fmt: skip
    return whole


class _Seen(nn.Module):
    """A layer whose call gives its kernel and bias as one real vector."""

    def __init__(self, layer: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.shape = layer, shape

    def forward(self) -> Tensor:
        kernel, bias = _shaped(self.layer, self.shape), self.layer.effective_bias()
        return _real(kernel) if bias is None else torch.cat([_real(kernel), _real(bias.to(kernel.dtype))])


def _vector(kernel: Tensor, bias: Tensor | None, layer: Any) -> Tensor:
    """What `_Seen` shall give."""
    wide = torch.promote_types(kernel.dtype, torch.float64)
    if layer.effective_bias() is None:
        return _real(kernel.to(wide))
    bias = kernel.new_zeros(layer.out_channels) if bias is None else bias
    return torch.cat([_real(kernel.to(wide)), _real(bias.to(wide))])


def _real(values: Tensor) -> Tensor:
    """A flat view as real numbers."""
    return (torch.view_as_real(values.contiguous()) if values.is_complex() else values).flatten()


def _double(layer: Any) -> Any:
    """The layer with all its numbers in double precision."""
    for values in (*layer.parameters(), *layer.buffers()):
        if values.is_floating_point() or values.is_complex():
            values.data = values.data.to(torch.promote_types(values.dtype, torch.float64))
    return layer


Values = dict[str, Tensor]
Made = Callable[[Values], Tensor]


def _fitted(made: Made, values: Values, target: Tensor, rounds: int) -> Values:
    """The values that bring `made` closest to the target."""
    blocks, rest = _blocks(made, values)
    if not blocks and not rest:
        return values
    size = target.square().sum().item()

    def loss(some: Values) -> float:
        with torch.no_grad():
            return (made(some) - target).square().sum().item()

    best, least = values, loss(values)
    alone = len(blocks) == 1 and not rest
    for _ in range(1 if alone else rounds):
        now, before = best, least
        for block in blocks:
            now = now | _solved(made, now, block, target, alone)
        if rest:
            now = _descended(made, now, target)
        reached = loss(now)
        if not reached < least:
            break
        best, least = now, reached
        if least <= 1e-26 * size or least > before * (1 - PROGRESS):
            break
    return best


def _blocks(made: Made, values: Values) -> tuple[list[list[str]], list[str]]:
    """Groups of values in each of which `made` is affine, the largest values first, and the names that fit into none."""
    left = sorted(values, key=lambda name: -values[name].numel())
    rest = [name for name in left if not _affine(made, values, [name])]
    left = [name for name in left if name not in rest]
    blocks = []
    while left:
        block: list[str] = []
        for name in left:
            if not block or _affine(made, values, [*block, name]):
                block.append(name)
        blocks.append(block)
        left = [name for name in left if name not in block]
    return blocks, rest


@torch.no_grad()
def _affine(made: Made, values: Values, names: list[str]) -> bool:
    """Whether f(p + a + b) − f(p + a) − f(p + b) + f(p) vanishes for random a and b in these values."""
    generator = torch.Generator().manual_seed(0)
    steps = [{n: _random(values[n], generator) for n in names} for _ in range(2)]

    def at(*chosen: Values) -> Tensor:
        return made(values | {n: values[n] + sum(step[n] for step in chosen) for n in names})

    corners = at(*steps), at(steps[0]), at(steps[1]), at()
    off = (corners[0] - corners[1] - corners[2] + corners[3]).abs().max()
    return bool(off <= 1e-10 * max(c.abs().max().item() for c in corners))


def _random(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, dtype=like.dtype, generator=generator).to(like.device)


def _solved(made: Made, values: Values, names: list[str], target: Tensor, alone: bool) -> Values:
    """The values in which `made` is affine, moved by the shortest step that solves the least-squares problem."""
    shapes = [values[n] for n in names]
    sizes = [_real(v).numel() for v in shapes]
    count, device = sum(sizes), target.device

    def spread(flat: Tensor) -> Values:
        parts = flat.split(sizes)
        return {n: _like(part, v) for n, part, v in zip(names, parts, shapes, strict=True)}

    zero = torch.zeros(count, dtype=torch.float64, device=device)
    with torch.no_grad():
        constant = made(values | spread(zero))
        missing = target - made(values)

    @torch.no_grad()
    def forward(flat: Tensor) -> Tensor:
        return made(values | spread(flat)) - constant

    leaf = zero.clone().requires_grad_()
    seen = made(values | spread(leaf))
    if not seen.requires_grad:  # kernel and bias do not depend on these
        return {n: values[n] for n in names}

    def there(v: Any) -> Any:
        return forward(torch.from_numpy(np.array(v, dtype=np.float64)).to(device)).cpu().numpy()

    def back(u: Any) -> Any:
        weights = torch.from_numpy(np.array(u, dtype=np.float64)).to(device)
        (pulled,) = torch.autograd.grad(seen, leaf, weights, retain_graph=True)
        return pulled.cpu().numpy()

    products = LinearOperator((target.numel(), count), matvec=there, rmatvec=back, dtype=np.float64)
    most = STEPS if alone else TURN
    found, _, taken, *_ = lsmr(products, missing.cpu().numpy(), atol=1e-14, btol=1e-14, conlim=0, maxiter=most)
    step = torch.from_numpy(found).to(device)
    if alone and taken >= most and count <= DENSE and count * target.numel() <= ENTRIES:
        units = torch.eye(count, dtype=torch.float64, device=device)
        matrix = torch.stack([forward(unit) for unit in units], 1)
        step = torch.linalg.lstsq(matrix.cpu(), missing.cpu()[:, None], driver="gelsd").solution[:, 0].to(device)
    moved = spread(step)
    return {n: values[n] + moved[n] for n in names}


def _like(flat: Tensor, like: Tensor) -> Tensor:
    """Real numbers back in the form of a value."""
    if like.is_complex():
        return torch.view_as_complex(flat.reshape(*like.shape, 2))
    return flat.reshape(like.shape)


def _descended(made: Made, values: Values, target: Tensor) -> Values:
    """All values after some steps of L-BFGS."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in values.items()}
    optimizer = torch.optim.LBFGS(
        list(leaves.values()),
        max_iter=DESCENT,
        tolerance_grad=1e-12,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (made(leaves) - target).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    moved = {name: leaf.detach() for name, leaf in leaves.items()}
    return moved if all(math.isfinite(v.abs().sum().item()) for v in moved.values()) else values
