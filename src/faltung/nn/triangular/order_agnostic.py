"""The loss of a model that predicts any pixels from any others, unbiased for the average over all orders of the pixels."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from faltung.errors import ArgumentError
from faltung.nn.base import PER_SAMPLE, Example, Layer

REDUCTIONS = ("none", "mean", "sum")


class OrderAgnosticLoss(Layer):
    """The negative log-likelihood of binary pixels, averaged over all their orders, estimated from one set of observed ones.

    Formula: `D / (D − n) · Σ over i of (1 − observed_i) · BCE(target_i, logit_i)`, D pixels in all, n = Σ observed. For n drawn
    uniformly from 0 ... D − 1 and the observed set uniformly among those of n pixels, its expectation is the mean over all D!
    orders of the chain rule's sum. (D / (D − n + 1), as the reference computes it, is too low by a fifth to a half for D = 4.)

    Shapes: logits, target, observed (batch, ...) alike; returns (batch), or a number with a reduction.

    Args:
        reduction: over the batch: `none`, `mean` (default) or `sum`.
        observed, at the call: 1 or True where a pixel was shown to the model, 0 or False where it was not. `draw` makes such sets.

    Raises:
        ArgumentError: shapes that differ, another reduction.

    Source: Uria, Côté, Gregor, Murray, Larochelle, Neural autoregressive distribution estimation (2016).

    Example:
        >>> loss = OrderAgnosticLoss()
        >>> loss(torch.zeros(1, 4), torch.ones(1, 4), torch.tensor([[True, True, False, False]]))
        tensor(2.7726)
    """

    name = "order-agnostic-loss"
    summary = "unbiased negative log-likelihood over all orders of the pixels"
    source = "Uria, Côté, Gregor, Murray, Larochelle, Neural autoregressive distribution estimation (2016)"
    cost = "one cross-entropy a pixel"

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ArgumentError.of(
                "reduction", f"one of {', '.join(REDUCTIONS)}", repr(reduction), "choose one of these"
            )
        self.reduction = reduction

    @staticmethod
    def draw(shape: Any, generator: torch.Generator | None = None, device: Any = None) -> Tensor:
        """Which pixels are observed, for signals of that shape (batch, ...): the number uniform in 0 ... D − 1, then the set."""
        noise = torch.rand(tuple(shape), generator=generator, device=device).flatten(1)
        many = torch.randint(noise.shape[1], (len(noise), 1), generator=generator, device=device)
        return (noise.argsort(1).argsort(1) < many).reshape(tuple(shape))

    def forward(self, logits: Tensor, target: Tensor, observed: Tensor) -> Tensor:
        self.expect(logits, None, None)
        self.expect(target, None, None)
        if not logits.shape == target.shape == observed.shape or logits.ndim < 2:
            came = " and ".join(str(tuple(a.shape)) for a in (logits, target, observed))
            raise ArgumentError.of(
                "OrderAgnosticLoss", "three tensors (batch, ...) of one shape", came, "expand the smaller ones"
            )
        hidden = 1 - observed.to(logits.dtype).flatten(1)
        terms = binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1)
        left = hidden.sum(1)
        left = torch.where(left == 0, 1, left)  # nothing hidden: the sum is empty
        loss = (hidden * terms).sum(1) * hidden.shape[1] / left
        if self.reduction == "none":
            return loss
        return loss.mean() if self.reduction == "mean" else loss.sum()

    def definition(self, *inputs: Any) -> Tensor:
        """Sample by sample, pixel by pixel."""
        losses = []
        for logits, target, observed in zip(*(a.flatten(1) for a in inputs), strict=True):
            p = torch.sigmoid(logits)
            terms = [-(target[i] * p[i].log() + (1 - target[i]) * (1 - p[i]).log()) for i in range(len(p))]
            total = torch.stack([(1 - observed[i]) * terms[i] for i in range(len(p))]).sum()
            losses.append(len(p) / (len(p) - observed.sum()) * total)
        made = torch.stack(losses)
        return made if self.reduction == "none" else getattr(made, self.reduction)()

    def shapes(self, *inputs: Any) -> Any:
        return (inputs[0][0],) if self.reduction == "none" else ()

    def parameter_count(self) -> int:
        return 0

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE} if self.reduction == "none" else ())

    @classmethod
    def examples(cls) -> Iterable[Example]:
        shape = (3, 1, 2, 3)
        for reduction in REDUCTIONS:
            yield Example({"reduction": reduction}, (shape,) * 3)
