"""Cross-D convolution: a layer for pictures that owns a kernel of one dimension more, of which each picture sees a moved slice."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import PER_SAMPLE, ConvLayer, Example, shown, uniform_bias
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.functional.motion import rotation_weights, shift_matrix, turned
from faltung.planner import Policy

MOTIONS = ("translate", "rotate", "both")
LARGEST = math.pi / 4


class CrossDConv2d(ConvLayer):
    """A 2-D convolution with the middle slice of a 3-D kernel that each sample moves; afterwards the kernel serves volumes.

    Formula: four numbers v of a sample give an axis a = v₀₋₂ / ‖v₀₋₂‖ and an angle θ = tanh(v₃)·π/4. The kernel U is moved,
    `translate`: by t = (I + θ[a]×)ᵀ(1, 1, 1) − (1, 1, 1) samples with a circular end; `rotate`: by the rotation about a through θ;
    `both`: rotated, then translated. The convolution is that with the slice `moved U[:, :, K // 2]`. v is predicted: a 1×1
    convolution, batch normalisation, ReLU, a 1×1 convolution, and the sum of each map under its own softmax over space.

    Shapes: input (batch, in, h, w), returns (batch, out, *m) as `Conv2d`; weight (out, in / groups, K, K, K), bias (out).

    Args:
        in_channels, out_channels, stride, padding, dilation, groups, bias, padding_mode, policy: as for `Conv`.
        kernel_size: K, one number for all three axes. Of one tap there is nothing to move.
        motion: `translate`, `rotate` or `both`. Default translate.
        per_sample: whether each sample predicts its motion. If not, one motion is learnt for all: then the layer is linear, and
            no sample sees its companions in training either, as it does through batch normalisation. Default True.
        hidden: channels of the predictor. Default 16.
        rest: where a translation starts from. `middle`: θ = 0 leaves the kernel where it is. `published`: the (1, 1, 1) is not
            taken off, so that θ = 0 moves the kernel by one sample along every axis. Default middle.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer.

    Error: none of the slice; translation is exact for kernels without the highest frequency, rotation interpolates linearly.
    Cost: the slice of one sample, K³ (translate) or K⁵ multiplications for each pair of channels, instead of two Fourier transforms
    of the kernel; then one convolution.

    What the paper calls rotation multiplies a spectrum that is not rotated by a phase, which is the translation above.

    Source: Yavuz, Yang, Cross-D Conv: cross-dimensional transferable knowledge base via Fourier shifting operation (2024).

    Example:
        >>> layer = CrossDConv2d(3, 8, 3, padding=1)
        >>> layer(torch.zeros(2, 3, 16, 16)).shape, layer.to_conv3d()
        (torch.Size([2, 8, 16, 16]), Conv3d(3, 8, kernel_size=(3, 3, 3), stride=(1, 1, 1), padding=(1, 1, 1)))
    """

    name = "cross-d-conv"
    summary = "a 2-D convolution with a slice of a 3-D kernel that each sample moves"
    source = (
        "Yavuz, Yang, Cross-D Conv: cross-dimensional transferable knowledge base via Fourier shifting operation (2024)"
    )
    cost = "in / groups · K², and K³ or K⁵ for each pair of channels of the kernel"
    portrait = shown("photo", (1, 1, 96, 96), in_channels=1, out_channels=2, kernel_size=5, padding=2)
    dims = ()

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        motion: str = "translate",
        per_sample: bool = True,
        hidden: int = 16,
        rest: str = "middle",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (size,) = functional.numbers("kernel_size", kernel_size, 1, 1)
        self.settle(2, in_channels, out_channels, size, stride, padding, dilation, groups, padding_mode, policy)
        for name, given, words in (("motion", motion, MOTIONS), ("rest", rest, ("middle", "published"))):
            if given not in words:
                raise ArgumentError.of(name, f"one of {', '.join(words)}", repr(given), "choose one of these")
        (self.hidden,) = functional.numbers("hidden", hidden, 1, 1)
        self.size, self.motion, self.per_sample, self.rest = size, motion, bool(per_sample), rest
        factory = {"device": device, "dtype": dtype}
        shape = (self.out_channels, self.in_channels // self.groups, size, size, size)
        self.weight = nn.Parameter(torch.empty(shape, **factory))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        fan_in = self.in_channels // self.groups * size**2
        self.register_parameter("bias", uniform_bias(self.out_channels, fan_in, factory) if bias else None)
        if self.per_sample:
            self.predictor = nn.Sequential(
                Conv(2, self.in_channels, self.hidden, 1, **factory),
                nn.BatchNorm2d(self.hidden, **factory),
                nn.ReLU(),
                Conv(2, self.hidden, 4, 1, **factory),
            )
        else:  # any axis, and no angle
            self.vector = nn.Parameter(torch.randn(4, **factory) * torch.tensor([1.0, 1.0, 1.0, 0.0], **factory))

    def vectors(self, input: Tensor) -> Tensor:
        """The four numbers of each sample, (batch, 4)."""
        maps = self.predictor(input).flatten(2)
        return (maps.softmax(2) * maps).sum(2)

    def axis_angle(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Unit axes (..., 3) and angles (...) from vectors (..., 4)."""
        return nn.functional.normalize(vector[..., :3], dim=-1), torch.tanh(vector[..., 3]) * LARGEST

    def shift(self, axis: Tensor, angle: Tensor) -> Tensor:
        """The translation (..., 3) in samples, (I + θ[a]×)ᵀ(1, 1, 1), less where it starts from."""
        moved = turned(axis, angle, first_order=True).sum(-2)
        return moved - 1 if self.rest == "middle" else moved

    def moved(self, vector: Tensor) -> Tensor:
        """The middle slices (batch, out, in / groups, K, K) of the kernel as vectors (batch, 4) move it."""
        axis, angle = self.axis_angle(vector)
        K, pairs = self.size, self.weight.shape[:2]
        if self.motion == "translate":
            depth, rows, columns = (shift_matrix(K, t) for t in self.shift(axis, angle).unbind(-1))
            found = (depth[:, K // 2] @ self.weight.movedim(2, 0).flatten(1)).unflatten(1, (-1, K, K))
            return (rows[:, None] @ found @ columns.mT[:, None]).unflatten(1, pairs)
        weights = rotation_weights((K,) * 3, turned(axis, angle))  # (batch, moved samples, samples)
        if self.motion == "both":
            depth, rows, columns = (shift_matrix(K, t) for t in self.shift(axis, angle).unbind(-1))
            spread = torch.einsum("nd,nyr,nxc->nyxdrc", depth[:, K // 2], rows, columns)
            weights = spread.reshape(len(vector), K * K, K**3) @ weights
        else:
            weights = weights.unflatten(1, (K, -1))[:, K // 2]
        return (self.weight.flatten(2).flatten(0, 1) @ weights.mT).reshape(len(vector), *pairs, K, K)

    def kernel(self) -> Tensor:
        if self.per_sample:
            raise ArgumentError.of(
                "CrossDConv2d.kernel", "one motion for all samples", "one that each sample predicts",
                "take layer.moved(layer.vectors(input)), or layer.slice(axis, offset)",
            )  # fmt: skip
        return self.moved(self.vector[None])[0]

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, 2)
        if not self.per_sample:
            return super().forward(input)
        return functional.conv_per_sample(
            input, self.moved(self.vectors(input)), self.bias, self.stride, self.padding, self.dilation, self.groups,
            self.padding_mode, self.policy,
        )  # fmt: skip

    def slice(self, axis: int, offset: float = 0) -> Tensor:
        """The 2-D kernel (out, in / groups, K, K) across one axis (0 to 2) of the kernel, `offset` samples from its middle.

        Between samples the kernel is interpolated as a translation does it, and beyond its end it goes on at the other.
        """
        if axis not in (0, 1, 2):
            raise ArgumentError.of("CrossDConv2d.slice", "axis 0, 1 or 2", repr(axis), "0 is the depth")
        rows = shift_matrix(self.size, self.weight.new_tensor(-offset))
        return torch.tensordot(self.weight, rows[self.size // 2], ([2 + axis], [0]))

    def to_conv3d(self) -> nn.Module:
        """The 3-D layer with this kernel and bias (copies), torch's own where there is one; depth takes the rows' settings."""
        deep: dict[str, Any] = {name: (getattr(self, name)[0], *getattr(self, name)) for name in ("stride", "dilation")}
        deep["padding"] = self.padding if isinstance(self.padding, str) else (self.padding[0], *self.padding)
        made = Conv(
            3, self.in_channels, self.out_channels, self.size, groups=self.groups, bias=self.bias is not None,
            padding_mode=self.padding_mode, device="meta", policy=self.policy, **deep,
        )  # fmt: skip
        made.weight = nn.Parameter(self.weight.detach().clone())
        made.bias = None if self.bias is None else nn.Parameter(self.bias.detach().clone())
        made.train(self.training)
        return made.to_torch() if made.has_torch() else made

    def _definition_kernel(self, vector: Tensor) -> Tensor:
        """The slice by way of the whole kernel: every voxel found where the rotation sees it, then a phase for each frequency."""
        axis, angle = self.axis_angle(vector)
        volume, K = self.weight, self.size
        if self.motion != "translate":
            R, c = turned(axis, angle), (K - 1) / 2
            whole = torch.zeros_like(volume)
            for p in torch.cartesian_prod(*[torch.arange(K)] * 3):
                seen = R.T @ (p.to(R) - c) + c
                for q in torch.cartesian_prod(*[torch.arange(K)] * 3):
                    whole[(..., *p)] += volume[(..., *q)] * (1 - (seen - q).abs()).clamp(min=0).prod()
            volume = whole
        if self.motion != "rotate":
            for a, t in enumerate(self.shift(axis, angle)):
                f = torch.fft.fftfreq(K, dtype=volume.dtype)
                phase = torch.exp(-2j * math.pi * f * t)
                phase = torch.where(f.abs() == 0.5, phase.real.to(phase.dtype), phase)
                spectrum = torch.fft.fft(volume, dim=2 + a)
                volume = torch.fft.ifft(spectrum * phase.reshape(-1, *[1] * (2 - a)), dim=2 + a).real
        return volume[:, :, K // 2]

    def definition_kernel(self) -> Tensor:
        return self._definition_kernel(self.vector.detach())

    def definition(self, *inputs: Any) -> Tensor:
        if not self.per_sample:
            return super().definition(*inputs)
        settings = (self.stride, self.pads, self.dilation, self.groups, self.padding_mode)
        with torch.no_grad():
            return torch.cat([
                conv_by_taps(x, self._definition_kernel(self.vectors(x)[0]), self.bias, *settings) for x in inputs[0].split(1)
            ])  # fmt: skip

    def parameter_count(self) -> int:
        own = math.prod(self.weight.shape) + (0 if self.bias is None else self.out_channels)
        return own + (self.hidden * (self.in_channels + 7) + 4 if self.per_sample else 4)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE}) if self.per_sample else super().claims

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "hidden": 3}
        yield Example({**common, "padding": 1, "padding_mode": "circular"}, ((2, 2, 4, 5),))
        yield Example({**common, "motion": "rotate", "stride": 2, "bias": False}, ((2, 2, 5, 5),))
        yield Example({**common, "motion": "both", "groups": 2, "dilation": 2, "padding": "same"}, ((2, 2, 4, 4),))
        alike = {**common, "per_sample": False, "padding": 1, "kernel_size": 4, "rest": "published"}
        yield Example(alike, ((2, 2, 4, 5),))
