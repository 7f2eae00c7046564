"""Series folded by their strongest periods and convolved as images."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.nn import functional
from faltung.nn.base import PER_SAMPLE, Example, Layer, shown
from faltung.nn.branches.multi_kernel import MultiKernelConv
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy


class PeriodFoldConv(Layer):
    """Fold a series by each of its strongest periods, convolve the images, and average the results by amplitude (TimesNet block).

    Formula: `y = x + Σ_i w_i · unfold(B(GELU(A(fold(x, p_i)))))`; p_i, a_i from `faltung.nn.functional.dominant_periods`,
    w = softmax(a); A and B are `MultiKernelConv` over images whose rows are cycles and whose columns are the places within one.

    Frequencies that share a rounded period are computed once, with the sum of their weights. A series whose period is all of its
    samples is an image of one row. Derivatives flow through the amplitudes, not through the periods.

    Shapes: input (batch, channels, T), returns the same. T at least 2·top_k.

    Args:
        channels, hidden: channels outside and between the two convolutions.
        top_k: how many frequencies, at least 1. Default 5.
        inception: kernels of 1, 3, ..., 2·inception − 1 taps; with bands, half as many pairs of bands. Default 6.
        batchwise: one choice of periods for the whole batch, by its mean amplitude, as published: then a prediction depends on the
            other samples of the batch. Default False: each sample has its own.
        bands: the block's second version, see `MultiKernelConv.bands`; inception at least 2. Default False.
        device, dtype, policy: see `faltung.nn.Conv`.

    Raises:
        ArgumentError: a series too short for top_k frequencies, or settings that name no layer.

    Cost: for each sample, channel pair and distinct period twice (2·inception − 1)² multiplications (121 for the default, where
        the separate kernels take 286). Samples of one period are computed together.
    Source: Wu et al., TimesNet: temporal 2D-variation modeling for general time series analysis (2023).

    Example:
        >>> PeriodFoldConv(3, 8, top_k=2)(torch.randn(4, 3, 48)).shape
        torch.Size([4, 3, 48])
    """

    name = "period-fold"
    summary = "a series folded by its strongest periods, convolved as images, averaged by amplitude"
    source = "Wu et al., TimesNet: temporal 2D-variation modeling for general time series analysis (2023)"
    cost = "4 · top_k · hidden · (2 · inception − 1)², at most"
    portrait = shown("series", (1, 1, 96), channels=1, hidden=8, top_k=2)
    eager_only = "the periods found in the values are the sizes of the images"

    def __init__(
        self,
        channels: int,
        hidden: int,
        top_k: int = 5,
        inception: int = 6,
        batchwise: bool = False,
        bands: bool = False,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.hidden = functional.numbers("channels, hidden", (channels, hidden), 2, 1)
        (self.top_k,) = functional.numbers("top_k", top_k, 1, 1)
        (count,) = functional.numbers("inception", inception, 1, 2 if bands else 1)
        self.batchwise = batchwise
        settings = {"device": device, "dtype": dtype, "policy": policy}

        def block(inner: int, outer: int) -> MultiKernelConv:
            if bands:
                return MultiKernelConv.bands(2, inner, outer, count // 2, **settings)
            return MultiKernelConv(2, inner, outer, tuple(range(1, 2 * count, 2)), **settings)

        self.widen, self.narrow = block(self.channels, self.hidden), block(self.hidden, self.channels)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset() if self.batchwise else frozenset({PER_SAMPLE})

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, 1)
        length = input.shape[-1]
        found = functional.dominant_periods(input, self.top_k, self.batchwise)
        if not len(input):
            return input.clone()
        weights = found.amplitudes.softmax(-1).to(input.dtype)
        periods = found.periods.expand(len(input), self.top_k)
        # The sizes of images must be known to the program: the one place where it waits for the device.
        table = periods.tolist()
        result = input
        for period in sorted({p for row in table for p in row}):
            rows = [n for n, row in enumerate(table) if period in row]
            share = (weights * (periods == period)).sum(-1)[:, None, None]
            everybody = len(rows) == len(table)
            at = None if everybody else torch.tensor(rows, device=input.device)
            x = input if at is None else input.index_select(0, at)
            images = functional.fold_period(x, period)
            y = functional.unfold_period(self.narrow(nn.functional.gelu(self.widen(images))), length)
            y = y * (share if at is None else share.index_select(0, at))
            result = result + y if at is None else result.index_add(0, at, y.to(result.dtype))
        return result

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def definition(self, *inputs: Any) -> Tensor:
        """Sample by sample and frequency by frequency, the spectrum by its sum, kernel by kernel."""
        (x,) = inputs
        T = x.shape[-1]
        f, t = torch.arange(1, T // 2 + 1, dtype=x.dtype), torch.arange(T, dtype=x.dtype)
        angles = 2 * math.pi * f[:, None] * t / T
        spectrum = (x @ angles.cos().T).square() + (x @ angles.sin().T).square()
        amplitudes = spectrum.sqrt().mean(1)
        results = []
        for n in range(len(x)):
            judged = amplitudes.mean(0) if self.batchwise else amplitudes[n]
            best = sorted(range(len(f)), key=lambda i: (-judged[i].item(), i))[: self.top_k]
            weights = torch.softmax(torch.stack([amplitudes[n, i] for i in best]), 0)
            total = x[n]
            for weight, i in zip(weights, best, strict=True):
                p = T // (i + 1)
                cycles = math.ceil(T / p)
                padded = torch.cat([x[n], x.new_zeros(len(x[n]), cycles * p - T)], 1)
                image = torch.stack([padded[:, c * p : (c + 1) * p] for c in range(cycles)], 1)[None]
                for last, block in enumerate((self.widen, self.narrow)):
                    parts = [
                        conv_by_taps(image, w, b, (1, 1), tuple((s // 2,) * 2 for s in w.shape[2:]), (1, 1), 1, "zeros")
                        for w, b in zip(block.weights, block.biases, strict=True)
                    ]
                    image = torch.stack(parts).mean(0)
                    image = image if last else image * (1 + torch.erf(image / math.sqrt(2))) / 2
                total = total + weight * image[0].flatten(1)[:, :T]
            results.append(total)
        return torch.stack(results) if results else x

    def parameter_count(self) -> int:
        return self.widen.parameter_count() + self.narrow.parameter_count()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "hidden": 3, "top_k": 2, "inception": 2}, ((3, 2, 9),))
        yield Example({"channels": 1, "hidden": 2, "top_k": 3, "inception": 3, "bands": True}, ((2, 1, 8),))
        yield Example({"channels": 2, "hidden": 2, "top_k": 2, "inception": 1, "batchwise": True}, ((2, 2, 12),))
