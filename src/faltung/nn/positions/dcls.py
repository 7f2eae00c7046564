"""Dilated convolution with learnable spacings: few weights in a large window, at real positions that are learnt."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown, uniform_bias
from faltung.nn.exchange import double, grouped
from faltung.nn.functional.placed import FLOORS, INTERPOLATIONS, placed
from faltung.nn.positions.largest_taps import best_weights, largest_taps
from faltung.planner import Policy

FIRST_WIDTH = {"gauss": 0.23, "triangle": 0.0}  # raw: 0.27 is added to a Gaussian's, 1 to a triangle's
PAIRS = 1 << 22  # distances that `repulsion` holds at a time

# The package dcls 0.1.1: the name that it gives to each interpolation, and which of its position's entries belongs to each axis of
# the window. The entry of another axis is measured from its own half window, so that windows that are no cubes are shifted there.
_VERSIONS = {"v0": "bilinear", "v1": "bilinear_norm", "max": "triangle", "gauss": "gauss"}
_ORDERS = {
    ("Dcls1d", False): (0,), ("Dcls1d", True): (0,), ("Dcls2d", True): (0, 1), ("Dcls2d", False): (1, 0),
    ("Dcls3d", True): (0, 2, 1), ("Dcls3d", False): (2, 1, 0), ("Dcls3_1d", False): (0,), ("Dcls2dK1d", True): (0,),
    ("Dcls2dK1d", False): (0,),
}  # fmt: skip


class DCLSConv(ConvLayer):
    """A convolution of `kernel_count` weights for each pair of channels, at learnt positions in a window.

    Formula: `kernel[o, i, q] = Σ_m weight[o, i, m] · φ(q; positions[:, o, i, m])`, see `faltung.nn.functional.placed` for φ; then
    the plain convolution with that kernel, dilation 1.

    Shapes: input (batch, in, *n), returns (batch, out, *m). weight (out, in / groups, kernel_count), positions (ndim, ...) and
    widths (ndim, ...) in front of the same, in the order of the tensor's axes (rows before columns), measured from tap
    `window // 2`; a kernel_count for each tap of the dense axes where `learn_axes` leaves some out: weight (out, in / groups,
    *dense, kernel_count). bias (out).

    Args:
        ndim: number of spatial axes, 1 to 4.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_count: weights for each pair of channels, at least 1.
        window: taps along each axis within which positions move, even or odd, one number for all axes or one for each.
        interpolation: bilinear, bilinear_norm, triangle or gauss. Default gauss. The last two learn widths.
        learn_axes: along which axes positions are learnt; the others are dense. Default: all. An axis of one tap may be left out.
        share_positions: another such layer whose positions (not widths) are this one's too. Default: positions of its own.
        stride, groups, padding_mode, policy: see `faltung.nn.functional.conv`.
        padding: as there; `same` with a stride takes the margins of stride 1 (odd windows only). Default same.
        bias: whether a learnt constant is added to each output channel. Default True.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer; DtypeError: positions shared with something else.

    Cost: the kernel is made anew in each call, 2ⁿ sums for each weight (bilinear), with no memory but its own; then that of a
    convolution with the whole window. Call `clamp_()` after every step of the optimizer, and see
    `faltung.nn.param_groups` for learning rates.

    Source: Khalfaoui-Hassani, Pellegrini and Masquelier, Dilated convolution with learnable spacings (2023), and the same,
    Dilated convolution with learnable spacings: beyond bilinear interpolation (2023).

    Example:
        >>> layer = DCLSConv(2, 3, 8, kernel_count=5, window=(9, 7))
        >>> layer(torch.zeros(1, 3, 16, 16)).shape, layer.positions.shape
        (torch.Size([1, 8, 16, 16]), torch.Size([2, 8, 3, 5]))
    """

    name = "dcls"
    summary = "a convolution with few weights at learnt positions in a large window"
    source = (
        "Khalfaoui-Hassani, Pellegrini and Masquelier, Dilated convolution with learnable spacings (2023); the same, "
        "Dilated convolution with learnable spacings: beyond bilinear interpolation (2023)"
    )
    cost = "in / groups · Π window"
    portrait = shown("kernels taken", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, kernel_count=60, window=23)

    positions: nn.Parameter
    widths: nn.Parameter | None

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_count: int,
        window: Any,
        *,
        interpolation: str = "gauss",
        learn_axes: Any = None,
        share_positions: "DCLSConv | None" = None,
        stride: Any = 1,
        padding: Any = "same",
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (axes,) = functional.numbers("ndim", ndim, 1, 1)
        if axes > 4:
            raise ArgumentError.of("ndim", "1 to 4 axes", str(axes), "learn positions along at most four axes")
        window = functional.numbers("window", window, axes, 1)
        if padding == "same" and any(s > 1 for s in functional.numbers("stride", stride, axes, 1)):
            if not all(t % 2 for t in window):
                raise ArgumentError.of(
                    "padding='same'", "a stride of 1 or odd windows", f"{window}", "give the padding as numbers"
                )
            padding = tuple(t // 2 for t in window)
        self.settle(axes, in_channels, out_channels, window, stride, padding, 1, groups, padding_mode, policy)
        (self.kernel_count,) = functional.numbers("kernel_count", kernel_count, 1, 1)
        if interpolation not in INTERPOLATIONS:
            raise ArgumentError.of(
                "interpolation", f"one of {', '.join(INTERPOLATIONS)}", repr(interpolation), "choose one of these"
            )
        self.interpolation, self.learn_axes = interpolation, _axes(learn_axes, axes)
        factory = {"device": device, "dtype": dtype}
        dense = [t for axis, t in enumerate(window) if axis not in self.learn_axes]
        shape = (self.out_channels, self.in_channels // self.groups, *dense, self.kernel_count)
        self.weight = nn.Parameter(torch.empty(shape, **factory))
        many = (len(self.learn_axes), *shape)
        self.positions = (
            nn.Parameter(torch.empty(many, **factory)) if share_positions is None else self._of(share_positions, many)
        )
        self.shares_positions = share_positions is not None
        learnt = interpolation in FIRST_WIDTH
        self.register_parameter("widths", nn.Parameter(torch.empty(many, **factory)) if learnt else None)
        self.bias = uniform_bias(self.out_channels, math.prod(shape[1:]), factory) if bias else None
        self.reset_parameters(positions=share_positions is None)

    def _of(self, other: Any, shape: tuple[int, ...]) -> nn.Parameter:
        """The other layer's positions, where they fit."""
        if not isinstance(other, DCLSConv):
            raise DtypeError.of("share_positions", "a DCLSConv", type(other).__name__, "pass the layer that owns them")
        ours = shape, self.learn_axes, self._taps
        theirs = tuple(other.positions.shape), other.learn_axes, other._taps
        if ours != theirs:
            raise ArgumentError.of(
                "share_positions", f"positions of shape {ours[0]} along axes {ours[1]} in windows of {ours[2]} taps",
                f"{theirs[0]} along {theirs[1]} in {theirs[2]}", "share between layers of the same kernels",
            )  # fmt: skip
        return other.positions

    @torch.no_grad()
    def reset_parameters(self, positions: bool = True) -> None:
        """Draw weights (uniform, Kaiming with a = √5) and positions (normal, deviation 0.5 taps); widths to their first value."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.widths is not None:
            self.widths.fill_(FIRST_WIDTH[self.interpolation])
        if positions:
            self.positions.normal_(0, 0.5)
            self.clamp_()

    @property
    def _taps(self) -> tuple[int, ...]:
        """The window along the axes that are learnt."""
        return tuple(self.kernel_size[axis] for axis in self.learn_axes)

    def parameter_count(self) -> int:
        axes = len(self.learn_axes) * (1 if self.widths is None else 2)
        return self.weight.numel() * (1 + axes) + (0 if self.bias is None else self.out_channels)

    def kernel(self) -> Tensor:
        return self._in_order(placed(self.weight, self.positions, self.widths, self._taps, self.interpolation))

    def definition_kernel(self) -> Tensor:
        floor, n, ours = FLOORS[self.interpolation], len(self.learn_axes), self._taps
        s = torch.ones_like(self.positions) * floor if self.widths is None else self.widths.abs() + floor
        grids = torch.meshgrid(*(torch.arange(t, device=s.device) for t in ours), indexing="ij")
        far = []  # distances in the window, one for each axis: (out, in, ..., m, *window)
        for axis in range(n):
            at = self.positions[axis] + ours[axis] // 2
            far.append(grids[axis] - at.reshape(*at.shape, *[1] * n))
        wide = s.reshape(*s.shape, *[1] * n)
        if self.interpolation == "gauss":
            exponent = sum(-0.5 * (d / w) ** 2 for d, w in zip(far, wide, strict=True))
            f = torch.softmax(exponent.flatten(-n), -1).reshape(exponent.shape)
        else:
            f = math.prod((w - d.abs()).relu() for d, w in zip(far, wide, strict=True))
            if self.interpolation != "bilinear":
                f = f / (f.sum(tuple(range(-n, 0)), keepdim=True) + 1e-300)
        elements = self.weight.reshape(*self.weight.shape, *[1] * n) * f
        return self._in_order(elements.sum(-n - 1))

    def _in_order(self, kernel: Tensor) -> Tensor:
        """(out, in, *dense, *learnt) with its axes in the order of the tensor's."""
        dense = [axis for axis in range(self.ndim) if axis not in self.learn_axes]
        found = [*dense, *self.learn_axes]
        return kernel.permute(0, 1, *(2 + found.index(axis) for axis in range(self.ndim)))

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """Elements on the largest taps of each kernel, as narrow as they get, with the weights that are best there.

        Exact where there are as many elements as taps that are not zero. With fewer, no other choice of whole taps is nearer
        (bilinear, bilinear_norm, triangle), for Gaussians, which overlap by 0.2 %, to a thousandth. Elements between taps can be
        nearer still: training finds them from here. Positions shared with another layer stay.
        """
        axes = [axis for axis in range(self.ndim) if axis not in self.learn_axes] + list(self.learn_axes)
        rows = grouped(double(kernel), self).permute(0, 1, *(2 + axis for axis in axes))
        if self.widths is not None:
            self.widths.zero_()
        if not self.shares_positions:
            self.positions.copy_(largest_taps(rows, self.kernel_count, len(self.learn_axes)))
        widths = None if self.widths is None else self.widths.to(rows.dtype)
        self.weight.copy_(best_weights(rows, self.positions.to(rows.dtype), widths, self.interpolation))
        self.take_bias(bias)
        return self

    @torch.no_grad()
    def clamp_(self) -> Self:
        """Bring positions back into the window: from `−⌊window / 2⌋` to `window − 1 − ⌊window / 2⌋`. Call it after every step."""
        for taps, at in zip(self._taps, self.positions, strict=True):
            at.clamp_(-(taps // 2), taps - 1 - taps // 2)
        return self

    @torch.no_grad()
    def round_(self) -> Self:
        """Round positions to whole taps, within the window."""
        self.positions.round_()
        return self.clamp_()

    def repulsion(self) -> Tensor:
        """How much elements of one kernel crowd: the mean over all pairs of `max(0, 1 − distance)`, 0 with a single element.

        To spread them, add the square of its mean over all layers (`faltung.nn.positions.repulsion`) to the loss.
        """
        rows = self.positions.flatten(1, -2)
        first, second = torch.triu_indices(self.kernel_count, self.kernel_count, 1, device=rows.device)
        count = rows.shape[1] * len(first)
        total = rows.new_zeros(())
        step = max(1, PAIRS // max(1, len(first) * len(rows)))
        for start in range(0, rows.shape[1] if count else 0, step):
            some = rows[:, start : start + step]
            if step < rows.shape[1]:  # distances are computed again backwards, so that only one piece is held
                total = total + checkpoint(_crowding, some, first, second, use_reentrant=False)
            else:
                total = total + _crowding(some, first, second)
        return total / max(1, count)

    @classmethod
    def from_reference(cls, module: nn.Module) -> Self:
        """This layer in place of one of the package dcls (Dcls1d, 2d, 3d, 3_1d, 2dK1d), with the very kernel that it builds.

        Raises:
            DtypeError: none of these modules.

        Example:
            >>> DCLSConv.from_reference(DCLS.construct.modules.Dcls2d(8, 8, 5, dilated_kernel_size=7, padding=3, groups=8))
            DCLSConv(2, 8, 8, 5, (7, 7), padding=(3, 3), groups=8)
        """
        made: Any = module
        kind = type(module).__name__
        if kind not in {name for name, _ in _ORDERS}:
            known = ", ".join(dict.fromkeys(name for name, _ in _ORDERS))
            raise DtypeError.of("DCLSConv.from_reference", f"one of {known}", kind, "pass a layer of the package dcls")
        window, learn = tuple(made.dilated_kernel_size), None
        if kind == "Dcls3_1d":
            window, learn = (*made.dense_kernel_size, *window), (2,)
        if kind == "Dcls2dK1d":  # flat_dim counts the axes of one tap from the last
            window, learn = ((*window, 1), (0,)) if made.flat_dim == 0 else ((1, *window), (1,))
        optional = {"groups": made.groups, "stride": tuple(made.stride), "padding_mode": made.padding_mode}
        usual = {"groups": 1, "stride": (1,) * len(window), "padding_mode": "zeros"}
        optional = {name: value for name, value in optional.items() if value != usual[name]}
        optional |= {} if learn is None else {"learn_axes": learn}
        optional |= {} if made.version == "gauss" else {"interpolation": _VERSIONS[made.version]}
        optional |= {} if made.bias is not None else {"bias": False}
        weight = made.weight
        layer = cls(
            len(window), made.in_channels, made.out_channels, made.kernel_count, window, padding=tuple(made.padding),
            device=weight.device, dtype=weight.dtype, **optional,
        )  # fmt: skip
        return layer.load_reference(made.state_dict(), kind).train(made.training)

    @torch.no_grad()
    def load_reference(self, state: Mapping[str, Tensor], kind: str | None = None) -> Self:
        """Take the parameters of a checkpoint of the package dcls (weight, P, SIG, bias), its order of axes turned into ours.

        Args:
            state: one layer's entries, without a prefix.   kind: the package's name of the layer. Default: Dcls1d, 2d or 3d.

        Raises:
            ArgumentError: a checkpoint of another shape, or a kind that has no such interpolation.
        """
        order = _ORDERS.get((kind or f"Dcls{self.ndim}d", self.interpolation == "bilinear"))
        needed = (
            {"weight", "P"}
            | ({"SIG"} if self.widths is not None else set())
            | ({"bias"} if self.bias is not None else set())
        )
        if order is None or len(order) != len(self.learn_axes) or set(state) != needed:
            raise ArgumentError.of(
                "load_reference", f"entries {', '.join(sorted(needed))} of a layer with {len(self.learn_axes)} learnt axes",
                f"{', '.join(sorted(state))} of {kind or 'a layer'}", "make the layer with the checkpoint's settings",
            )  # fmt: skip
        taps, at = self._taps, state["P"]
        if at.numel() != self.positions.numel() or state["weight"].numel() != self.weight.numel():
            raise ArgumentError.of(
                "load_reference", f"positions of shape {tuple(self.positions.shape)}", f"{tuple(at.shape)}", "use the same sizes"
            )  # fmt: skip
        self.weight.copy_(state["weight"].reshape(self.weight.shape))
        for axis, entry in enumerate(order):
            shift = taps[entry] // 2 - taps[axis] // 2
            self.positions[axis].copy_(at[entry].reshape(self.weight.shape) + shift)
            if self.widths is not None:
                self.widths[axis].copy_(state["SIG"][entry].reshape(self.weight.shape))
        if self.bias is not None:
            self.bias.copy_(state["bias"])
        return self

    @classmethod
    def examples(cls) -> Iterable[Example]:
        def example(ndim: int, window: Any, size: tuple[int, ...], **more: Any) -> Example:
            arguments = {"ndim": ndim, "in_channels": 2, "out_channels": 2, "kernel_count": 2, "window": window}
            return Example(arguments | more, ((2, 2, *size),))

        yield example(1, 5, (7,), interpolation="bilinear", kernel_count=3, stride=2)
        yield example(1, 4, (6,), padding_mode="circular")
        yield example(2, (3, 5), (4, 5), groups=2, padding_mode="reflect")
        yield example(2, (4, 3), (5, 4), interpolation="triangle", padding=1, bias=False, out_channels=4)
        yield example(2, 3, (4, 4), interpolation="bilinear_norm", groups=2, stride=(1, 2), padding="valid")
        yield example(2, (1, 5), (3, 5), learn_axes=(1,))
        yield example(3, (2, 3, 3), (3, 3, 3), learn_axes=(0, 2), interpolation="bilinear", padding=1)
        yield example(3, 3, (2, 3, 3), groups=2, kernel_count=1)
        yield example(4, 2, (2, 2, 3, 2), kernel_count=1, groups=2, padding="valid")


def _axes(given: Any, ndim: int) -> tuple[int, ...]:
    """The axes named by `learn_axes`, counted from the first, in order."""
    if given is None:
        return tuple(range(ndim))
    axes = given if isinstance(given, (tuple, list)) else (given,)
    whole = all(isinstance(a, int) and not isinstance(a, bool) and -ndim <= a < ndim for a in axes)
    found = sorted({a % ndim for a in axes}) if whole else []
    if not found or len(found) != len(axes):
        raise ArgumentError.of(
            "learn_axes", f"different axes from 0 to {ndim - 1}, at least one", repr(given), "leave it out to learn all"
        )
    return tuple(found)


def _crowding(rows: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The sum over pairs of `max(0, 1 − distance)` for positions (n, rows, m)."""
    squares = ((rows[..., first] - rows[..., second]) ** 2).sum(0)
    apart = squares > 0  # the root has no derivative at 0
    distance = torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)
    return (1 - distance).relu().sum()
