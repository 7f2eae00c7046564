"""Samples of autoregressive models, position after position, from what earlier positions have left in every layer."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer
from faltung.nn.conv import Conv
from faltung.nn.triangular.masked import MaskedConv
from faltung.nn.triangular.stacks import GatedStack
from faltung.tools.check_autoregressive import ranks

POINTWISE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh,
    nn.Sigmoid, nn.Softplus, nn.Hardtanh, nn.Dropout,
)  # fmt: skip
Fill = Callable[[tuple[int, ...]], None]


@torch.no_grad()
def sample(
    model: nn.Module,
    size: Sequence[int],
    order: Any = "raster",
    draw: Callable[[Tensor], Tensor] | None = None,
    batch: int = 1,
    channel_groups: int = 1,
    cached: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw signals from an autoregressive model, one position after the other.

    With the cache, every layer computes each position once, from its window of what the layer before has left; without it the whole
    model runs for every position. The values are the same up to rounding.

    Shapes: returns (batch, channels, *n); the model maps such a signal to (batch, any channels, *n).

    Args:
        model: with the cache, an `nn.Sequential` of `MaskedConv`, other convolutions of stride 1 that keep the size and pad with
            zeros, `GatedStack` and pointwise layers of torch; without it, any.
        size: (channels, *n).
        order: `raster`, or the positions' indices (in raster order) in the order in which they are visited.
        draw: from the model's results at a position (batch, any channels) to values (batch, channels). Default: one Bernoulli
            variable a channel, from its logit.
        batch: how many signals. Default 1.   generator: for the default `draw`.
        channel_groups: in how many consecutive groups, drawn one after the other, a position's channels fall. Default 1.
        cached: see above. Default True.

    Raises:
        ArgumentError: a layer that the cache does not know; taps that look at positions which come later in this order.

    Cost: for D positions, D windows of k² taps in every layer with the cache; D² of them without.

    Example:
        >>> from faltung.nn import MaskedConv2d
        >>> sample(MaskedConv2d(1, 1, 3, mask="A"), (1, 4, 5), batch=2).shape
        torch.Size([2, 1, 4, 5])
    """
    channels, *n = size
    rank = ranks(order, n)
    if channels % channel_groups:
        raise ArgumentError.of(
            "sample", f"channels that {channel_groups} channel groups divide", str(channels), "choose other groups"
        )
    one = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    x = one.new_zeros(batch, channels, *n)

    def bernoulli(logits: Tensor) -> Tensor:
        chance = torch.rand(logits.shape, generator=generator, dtype=logits.dtype, device=logits.device)
        return (chance < logits.sigmoid()).to(logits.dtype)

    draw = bernoulli if draw is None else draw
    was_training = model.training
    model.eval()
    try:
        if cached:
            result, fill = _Cache(model, x, rank.reshape(n), channel_groups).made
        places = list(itertools.product(*map(range, n)))
        for p in [places[index] for index in rank.argsort().tolist()]:
            for group in range(channel_groups):
                if cached:
                    fill(p)
                    values = result[(..., *p)]
                else:
                    values = model(x)[(..., *p)]
                own = slice(group * channels // channel_groups, (group + 1) * channels // channel_groups)
                x[(slice(None), own, *p)] = draw(values)[:, own]
    finally:
        model.train(was_training)
    return x


class _Cache:
    """What every layer of a model has computed so far, and the function that computes one more position in all of them."""

    def __init__(self, model: nn.Module, x: Tensor, rank: Tensor, channel_groups: int) -> None:
        self.rank, self.groups, self.first = rank, channel_groups, True
        self.made: tuple[Tensor, Fill] = self._after(model, x)

    def _after(self, module: nn.Module, image: Tensor) -> tuple[Tensor, Fill]:
        """The module's results for an image that is filled position by position, and what fills them."""
        if isinstance(module, nn.Sequential):
            fills: list[Fill] = []
            for part in module:
                image, fill = self._after(part, image)
                fills.append(fill)

            def fill_all(p: tuple[int, ...]) -> None:
                for fill in fills:
                    fill(p)

            return image, fill_all
        if isinstance(module, GatedStack):
            return self._stacks(module, image)
        if isinstance(module, POINTWISE):
            made = torch.zeros_like(image)

            def fill_point(p: tuple[int, ...]) -> None:
                made[(..., *p)] = module(image[(..., *p)])

            return made, fill_point
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            module = Conv.from_torch(module)
        if not isinstance(module, ConvLayer):
            raise ArgumentError.of(
                "sample", "convolutions, GatedStack and pointwise layers in an nn.Sequential", type(module).__name__,
                "write cached=False, or put the model together from those",
            )  # fmt: skip
        window, made = _Window(module), image.new_zeros(image.shape[0], module.out_channels, *image.shape[2:])
        self._refuse_later(module, window)

        def fill_window(p: tuple[int, ...]) -> None:
            made[(..., *p)] = window.at(image, p)

        return made, fill_window

    def _refuse_later(self, layer: ConvLayer, window: "_Window") -> None:
        """ArgumentError where a tap looks at what this order visits later, or the first layer at what is being drawn."""
        seen = window.kernel.flatten(0, 1).ne(0).any(0)
        for tap in itertools.product(*map(range, seen.shape)):
            shift = [t * d - lo for t, d, lo in zip(tap, layer.dilation, window.lo, strict=True)]
            if not any(shift):
                if self.first and not self._strict(layer, window.kernel[(..., *tap)]):
                    raise ArgumentError.of(
                        "sample",
                        "a first layer that does not see the position being drawn",
                        repr(layer),
                        "give it mask='A'",
                    )
            elif seen[tap] and all(abs(s) < n for s, n in zip(shift, self.rank.shape, strict=True)):
                here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, self.rank.shape, strict=True))
                there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, self.rank.shape, strict=True))
                if (self.rank[there] > self.rank[here]).any():
                    raise ArgumentError.of(
                        "sample", "taps that look at positions which come earlier in this order",
                        f"a tap {tuple(shift)} positions away in {layer!r}", "choose another order, or cached=False",
                    )  # fmt: skip
        self.first = False

    def _strict(self, layer: ConvLayer, tap: Tensor) -> bool:
        """Whether a tap (out, in / groups) takes channels of earlier channel groups only."""
        o, i = torch.arange(tap.shape[0])[:, None], torch.arange(tap.shape[1])
        i = i + o // (tap.shape[0] // layer.groups) * tap.shape[1]
        earlier = i * self.groups // layer.in_channels < o * self.groups // layer.out_channels
        return not bool((tap.cpu().ne(0) & ~earlier).any())

    def _stacks(self, stack: GatedStack, image: Tensor) -> tuple[Tensor, Fill]:
        """Stack a is filled a whole slab of the axes behind a at once, when its first position comes."""
        if not torch.equal(self.rank.flatten(), torch.arange(self.rank.numel())):
            raise ArgumentError.of("sample", "order='raster' for a GatedStack", "another order", "write cached=False")
        self.first, (N, _, *n) = False, image.shape
        states = [[image] * stack.ndim]
        states += [[image.new_zeros(N, stack.channels, *n) for _ in n] for _ in range(stack.layers)]
        handed = [[image.new_zeros(N, 2 * stack.channels, *n) for _ in n] for _ in range(stack.layers)]
        windows: list[list[_Window]] = [[_Window(conv) for conv in row] for row in stack.masked]

        def fill_stacks(p: tuple[int, ...]) -> None:
            for axis in range(stack.ndim):
                if any(p[axis + 1 :]):
                    continue
                lead = p[: axis + 1]
                slab = (..., *(slice(i, i + 1) for i in lead), *[slice(None)] * (stack.ndim - axis - 1))
                for layer in range(stack.layers):
                    u = windows[layer][axis].at(states[layer][axis], lead).reshape(handed[layer][axis][slab].shape)
                    before = handed[layer][axis - 1][slab] if axis else None
                    handed[layer][axis][slab], states[layer + 1][axis][slab] = stack.advanced(
                        layer, axis, u, before, states[layer][axis][slab]
                    )

        return states[-1][-1], fill_stacks


class _Window:
    """A convolution that keeps the size, computed at single positions or slabs; of a masked one, the box around its mask."""

    def __init__(self, layer: ConvLayer) -> None:
        reach = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        kept = all(lo + hi == r for (lo, hi), r in zip(layer.pads, reach, strict=True))
        if {*layer.stride} != {1} or layer.padding_mode != "zeros" or not kept:
            raise ArgumentError.of(
                "sample", "convolutions of stride 1 that keep the size and pad with zeros", repr(layer), "write cached=False"
            )  # fmt: skip
        box = layer.box if isinstance(layer, MaskedConv) else tuple((0, k - 1) for k in layer.kernel_size)
        self.layer, self.bias = layer, layer.effective_bias()
        self.kernel = layer.effective_kernel()[(..., *(slice(a, b + 1) for a, b in box))]
        self.lo = [lo - a * d for (lo, _), (a, _), d in zip(layer.pads, box, layer.dilation, strict=True)]
        self.whole = self.kernel.unflatten(0, (layer.groups, -1)).flatten(2).mT.contiguous()

    def at(self, image: Tensor, lead: tuple[int, ...]) -> Tensor:
        """The results where the first axes have these indices: (batch, out) for a position, else with the axes of the slab."""
        layer, ndim, places, taps = self.layer, len(self.lo), [], []
        for p, lo, d, k, n in zip(lead, self.lo, layer.dilation, self.kernel.shape[2:], image.shape[2:], strict=False):
            start = p - lo
            first, stop = max(0, -(start // d)), min(k, (n - 1 - start) // d + 1)
            stop = max(first, stop)
            places.append(slice(max(start + first * d, 0), max(start + (stop - 1) * d + 1, 0), d))
            taps.append(slice(first, stop))
        seen = image[(slice(None), slice(None), *places)]
        if len(lead) == ndim:
            clipped = seen.shape[2:] != self.kernel.shape[2:]
            kernel = self.whole
            if clipped:
                kernel = self.kernel[(slice(None), slice(None), *taps)].unflatten(0, (layer.groups, -1)).flatten(2).mT
            y = (seen.reshape(seen.shape[0], layer.groups, 1, -1) @ kernel).reshape(seen.shape[0], -1)
            return y if self.bias is None else y + self.bias
        behind = range(len(lead), ndim)
        reach = [layer.dilation[a] * (self.kernel.shape[2 + a] - 1) for a in behind]
        pads = ((0, 0),) * len(lead) + tuple((self.lo[a], r - self.lo[a]) for a, r in zip(behind, reach, strict=True))
        kernel = self.kernel[(slice(None), slice(None), *taps)]
        if not math.prod(kernel.shape):
            empty = seen.new_zeros(seen.shape[0], layer.out_channels, *[1] * len(lead), *image.shape[2 + len(lead) :])
            return empty if self.bias is None else empty + self.bias.reshape(-1, *[1] * ndim)
        return functional.conv(seen, kernel, self.bias, 1, pads, layer.dilation, layer.groups, "zeros", layer.policy)
