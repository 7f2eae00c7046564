"""GlobalFilter: a depthwise circular convolution with a kernel as large as the image, learnt in the Fourier domain."""

import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown

KEEP = ("taps", "bins")


class GlobalFilter(ConvLayer):
    """A depthwise circular convolution whose kernel is as large as the signal and is learnt by its Fourier transform.

    Formula: `y = F⁻¹(K ⊙ F x)` for each channel, with F the real Fourier transform over all spatial axes and K complex. In the bins
    that are their own mirror images (frequency 0 and, for even sizes, half the sampling rate along the last axis) only the
    Hermitian part of K counts, because the kernel `h = F⁻¹K` is real: there the imaginary part of K has no effect.

    Shapes: input (batch, channels, *size) or (channels, *size), returns the same; weight (channels, *size[:-1], size[-1] // 2 + 1,
    2), the real and imaginary part of K.

    Args:
        ndim: number of spatial axes, at least 1.   channels: at least 1.
        size: samples of the signal, one number for all axes or one for each. Signals of another size are convolved with the
            same taps, which then wrap around their borders; `resized` makes a layer for another size.
        bias: whether a learnt constant is added to each channel. Default False.
        device, dtype, policy: as for `Conv`; the policy is for signals of another size and for the frozen layer.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: two Fourier transforms and one complex product a bin. The border wraps around; pad the input where that is wrong.

    Source: Rao et al., Global filter networks for image classification (2021).

    Example:
        >>> GlobalFilter(2, 8, (14, 14))(torch.zeros(1, 8, 14, 14)).shape
        torch.Size([1, 8, 14, 14])
    """

    name = "global-filter"
    summary = "a depthwise circular convolution with a kernel as large as the image, learnt by its Fourier transform"
    source = "Rao et al., Global filter networks for image classification (2021)"
    cost = "log2 of the number of samples, about five times"
    portrait = shown("impulses kernels", (1, 3, 32, 32), ndim=2, channels=3, size=32)

    def __init__(
        self,
        ndim: int,
        channels: int,
        size: Any,
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        policy: Any = None,
    ) -> None:
        super().__init__()
        self.settle(ndim, channels, channels, size, 1, "same", 1, channels, "circular", policy)
        self.channels, self.size = self.in_channels, self.kernel_size
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(self.channels, *self.bins, 2, **factory))
        self.register_parameter("bias", nn.Parameter(torch.zeros(self.channels, **factory)) if bias else None)
        self.reset_parameters()

    @property
    def bins(self) -> tuple[int, ...]:
        """The numbers of frequencies along the axes."""
        return (*self.size[:-1], self.size[-1] // 2 + 1)

    def reset_parameters(self) -> None:
        """Draw K so that the result of white noise is as large as the noise."""
        nn.init.normal_(self.weight, std=math.sqrt(0.5))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def response(self) -> Tensor:
        """K, complex: what each frequency is multiplied with."""
        return torch.view_as_complex(functional.wide(self.weight))

    def taps(self) -> Tensor:
        """The kernel h = F⁻¹K of the circular convolution `y[p] = Σ_q h[q] x[p − q]`, (channels, *size)."""
        return functional.from_spectrum(self.response(), self.size) / math.sqrt(math.prod(self.size))

    def kernel(self) -> Tensor:
        axes = tuple(range(-self.ndim, 0))
        # Tap t of the layer reads the sample t − lo behind, which is h at lo − t.
        late = tuple(lo + 1 for lo, _ in self.pads)
        return self.taps().flip(axes).roll(late, axes).unsqueeze(1)

    def definition_kernel(self) -> Tensor:
        """A sum of cosines and sines of every bin and its mirror image."""
        where = torch.cartesian_prod(*(torch.arange(n) for n in self.size)).reshape(-1, self.ndim).to(self.weight)
        step = torch.tensor([2 * math.pi / n for n in self.size], dtype=torch.float64).to(self.weight)
        lo = torch.tensor([lo for lo, _ in self.pads]).to(self.weight)
        taps = torch.zeros((), dtype=self.weight.dtype)
        for bin in torch.cartesian_prod(*(torch.arange(n) for n in self.bins)).reshape(-1, self.ndim):
            angle = ((lo - where) * step * bin).sum(-1)
            last = int(bin[-1])
            twice = 1 if last == 0 or 2 * last == self.size[-1] else 2
            real, imaginary = self.weight[(slice(None), *bin.tolist())].unbind(-1)
            taps = taps + twice * (real[:, None] * angle.cos() - imaginary[:, None] * angle.sin())
        return (taps / math.prod(self.size)).reshape(self.channels, 1, *self.size)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim, batch=False)
        if tuple(input.shape[-self.ndim :]) != self.size:
            return super().forward(input)
        y = functional.from_spectrum(functional.real_spectrum(input, self.ndim) * self.response(), self.size)
        y = y if self.bias is None else y + self.bias.reshape(-1, *[1] * self.ndim)
        return y.to(input.dtype)

    def gain(self) -> float:
        """The largest |K|, of its Hermitian part."""
        spectrum = functional.real_spectrum(self.taps(), self.ndim) * math.sqrt(math.prod(self.size))
        return spectrum.abs().max().item()

    @torch.no_grad()
    def resized(self, size: Any, keep: str = "taps") -> Self:
        """A layer for signals of another size.

        Args:
            size: as for the layer.
            keep: what stays. `taps`: the kernel in samples, cut or filled with zeros around its middle (K is interpolated
                between its bins). `bins`: the response to so many periods per signal; frequencies that were not there have
                response 0, so signals that hold none of these give the same result at both samplings. Default taps.

        Raises:
            ArgumentError: sizes or a word that are none.
        """
        if keep not in KEEP:
            raise ArgumentError.of("keep", f"one of {', '.join(KEEP)}", repr(keep), "choose one of these")
        made = type(self)(
            self.ndim, self.channels, size, self.bias is not None, self.weight.device, self.weight.dtype, self.policy
        )
        centred = self.taps() if keep == "taps" else torch.fft.fftn(self.taps(), dim=tuple(range(1, self.ndim + 1)))
        for axis, (n, m) in enumerate(zip(self.size, made.size, strict=True), start=1):
            # From the middle: places −⌊s/2⌋ .. of the smaller size s. A bin at half the sampling rate has no mirror image where
            # there is room for one: it is left out.
            ahead = min(n, m) // 2 if keep == "taps" else (min(n, m) - 1) // 2
            places = torch.arange(-ahead, (min(n, m) + 1) // 2, device=centred.device)
            shape = (*centred.shape[:axis], m, *centred.shape[axis + 1 :])
            moved = centred.index_select(axis, places % n)
            centred = centred.new_zeros(shape).index_copy(axis, places % m, moved)
        if keep == "bins":
            centred = centred[..., : made.bins[-1]]
            made.weight.copy_(torch.view_as_real(centred.contiguous()))
        else:
            made.take_taps(centred)
        if self.bias is not None:
            made.bias.copy_(self.bias)
        return made.train(self.training)

    @torch.no_grad()
    def take_taps(self, taps: Tensor) -> Self:
        """Set K so that `taps()` is this kernel (channels, *size)."""
        spectrum = functional.real_spectrum(taps, self.ndim) * math.sqrt(math.prod(self.size))
        self.weight.copy_(torch.view_as_real(spectrum))
        return self

    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """Every circular kernel of this size, exactly."""
        axes = tuple(range(-self.ndim, 0))
        early = tuple(-lo - 1 for lo, _ in self.pads)
        self.take_taps(kernel.squeeze(1).roll(early, axes).flip(axes))
        self.take_bias(bias)
        return self

    def parameter_count(self) -> int:
        return 2 * self.channels * math.prod(self.bins) + (0 if self.bias is None else self.channels)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2, "size": 6, "bias": True}, ((2, 2, 6),))
        yield Example({"ndim": 2, "channels": 2, "size": (4, 5)}, ((2, 2, 4, 5),))
