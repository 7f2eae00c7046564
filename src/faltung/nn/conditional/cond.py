"""CondConv: a convolution whose kernel is, for each sample, a mixture of experts; its transpose; the routing that weighs them."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, shown
from faltung.nn.conditional.bank import LINEAR_CLAIMS, KernelBank
from faltung.planner import Policy

ROUTINGS = ("gap-sigmoid", "softmax", "external")


class Routing(Layer):
    """Weights of experts from the mean over space: one vector for each sample, between 0 and 1.

    Formula: `r(x) = sigmoid(R·mean(x) + b)`, or softmax in its place. One vector may serve several layers of a block: compute it
    once and hand it over as `routing_weights`.

    Shapes: input (batch, channels, *n) with any number of spatial axes, returns (batch, num_experts).

    Args:
        in_channels, num_experts: at least 1.
        activation: `sigmoid` (experts are weighed each by itself) or `softmax` (weights sum to 1). Default sigmoid. A sigmoid's
            weights saturate where its input is large: keep the learning rate of the routing low, or start from a small scale.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: another activation, or sizes below 1.

    Example:
        >>> Routing(3, 4, activation="softmax")(torch.zeros(2, 3, 8, 8)).sum(1)
        tensor([1., 1.], grad_fn=<SumBackward1>)
    """

    name = "routing"
    summary = "weights of experts from the mean over space"
    source = "Yang et al., CondConv: conditionally parameterized convolutions for efficient inference (2019)"
    cost = "in_channels · num_experts for each sample of the batch"

    def __init__(
        self, in_channels: int, num_experts: int, activation: str = "sigmoid", device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_channels, self.num_experts = functional.numbers(
            "in_channels, num_experts", (in_channels, num_experts), 2, 1
        )
        if activation not in ("sigmoid", "softmax"):
            raise ArgumentError.of("activation", "'sigmoid' or 'softmax'", repr(activation), "choose one of these")
        self.activation = activation
        self.linear = nn.Linear(self.in_channels, self.num_experts, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        self.expect(input, self.in_channels, max(input.ndim - 2, 1))
        scores = self.linear(input.flatten(2).mean(2))
        return scores.sigmoid() if self.activation == "sigmoid" else scores.softmax(1)

    def definition(self, *inputs: Any) -> Tensor:
        scores = []
        for sample in inputs[0]:
            mean = torch.stack([channel.sum() / channel.numel() for channel in sample])
            scores.append((self.linear.weight * mean).sum(1) + self.linear.bias)
        s = torch.stack(scores)
        return 1 / (1 + (-s).exp()) if self.activation == "sigmoid" else s.exp() / s.exp().sum(1, keepdim=True)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.num_experts)

    def parameter_count(self) -> int:
        return (self.in_channels + 1) * self.num_experts

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_channels": 3, "num_experts": 2}, ((2, 3, 4, 3),))
        yield Example({"in_channels": 2, "num_experts": 3, "activation": "softmax"}, ((2, 2, 5),))


class _Conditional(KernelBank):
    """What CondConv and its transpose share: experts, and who weighs them."""

    routing: Any

    def _route(self, num_experts: int, routing: Any, bias: bool, factory: dict[str, Any], more: Any = 0) -> None:
        (count,) = functional.numbers("num_experts", num_experts, 1, 1)
        if not isinstance(routing, nn.Module) and routing not in ROUTINGS:
            raise ArgumentError.of(
                "routing", f"one of {', '.join(ROUTINGS)}, or a module (batch, in, *n) → (batch, num_experts)", repr(routing),
                "choose one of these",
            )  # fmt: skip
        self._build(count, bias, factory, more)
        if isinstance(routing, nn.Module):
            self.routing = routing
        elif routing == "external":
            self.routing = None
        else:
            activation = "softmax" if routing == "softmax" else "sigmoid"
            self.routing = Routing(self.in_channels, count, activation, **factory)

    def forward(self, input: Tensor, routing_weights: Tensor | None = None) -> Tensor:
        """The result; `routing_weights` (batch, num_experts) take the place of those that the routing computes."""
        self.expect(input, self.in_channels, self.ndim)
        return self.mixed(input, self.routed(input, routing_weights))

    def routed(self, input: Tensor, routing_weights: Tensor | None = None) -> Tensor:
        """The weights (batch, num_experts) of the experts for these inputs.

        Raises:
            ArgumentError: they come from outside and did not, or have another shape.
        """
        if routing_weights is None:
            if self.routing is None:
                raise ArgumentError.of(
                    type(self).__name__, "routing_weights, for the routing is external", "none",
                    f"call layer(input, routing_weights) with weights ({input.shape[0]}, {self.count})",
                )  # fmt: skip
            routing_weights = self.routing(input)
        return self.checked_weights("routing_weights", routing_weights, input.shape[0], self.count)

    def definition(self, *inputs: Any) -> Tensor:
        weights = inputs[1] if len(inputs) > 1 else self.routing
        if isinstance(weights, Routing):
            weights = weights.definition(inputs[0])
        elif isinstance(weights, nn.Module):
            weights = weights(inputs[0])
        return self.mixed_definition(inputs[0], weights)

    def parameter_count(self) -> int:
        routed = 0 if self.routing is None else sum(p.numel() for p in self.routing.parameters() if p.requires_grad)
        if isinstance(self.routing, Routing):
            routed = self.routing.parameter_count()
        return self.bank_count() + routed

    @property
    def claims(self) -> frozenset[str]:
        return super().claims if self.routing is not None else LINEAR_CLAIMS


class CondConv(_Conditional):
    """A convolution whose kernel is, for each sample, a weighted sum of `num_experts` kernels; the sample decides the weights.

    Formula: `r(x) = sigmoid(R·mean(x) + b)`, `W(x) = Σ_i r_i(x) W_i`, `c(x) = Σ_i r_i(x) c_i`, `y = conv(x, W(x), c(x))`.

    Shapes: input (batch, in, *n), returns (batch, out, *m) as `Conv`; weight (num_experts, out, in / groups, *kernel_size), bias
    (num_experts, out).

    Args:
        ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, policy: as for `Conv`.
        num_experts: kernels that are mixed; 4 or 8 in the paper. Default 4.
        routing: `gap-sigmoid` (the formula), `softmax` (weights that sum to 1), a module from the input to weights (batch,
            num_experts), or `external`: the call brings them, as where one routing serves a whole block. Default gap-sigmoid.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer; routing weights that are missing or have another shape.

    Cost: one kernel a sample, batch · num_experts · |kernel|, and the convolution itself; see `faltung.nn.functional.conv_mixed`.
    Weight decay acts on all experts, whoever is chosen: exclude them where that is not wanted.

    Source: Yang, Bender, Le, Ngiam, CondConv: conditionally parameterized convolutions for efficient inference (2019).

    Example:
        >>> CondConv(2, 3, 8, 3, padding=1, num_experts=8)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 8, 16, 16])
    """

    name = "cond-conv"
    summary = "a convolution whose kernel is a mixture of experts that each sample weighs for itself"
    source = (
        "Yang, Bender, Le, Ngiam, CondConv: conditionally parameterized convolutions for efficient inference (2019)"
    )
    cost = "in / groups · Π kernel_size, and num_experts for each number of the kernel"
    portrait = shown("photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, kernel_size=7, padding=3)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        num_experts: int = 4,
        routing: Any = "gap-sigmoid",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self._route(num_experts, routing, bias, {"device": device, "dtype": dtype})

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "num_experts": 2}
        yield Example({"ndim": 1, **common, "stride": 2, "padding": 1}, ((2, 2, 40),))
        grouped = {"groups": 2, "padding": "same", "padding_mode": "circular", "routing": "softmax"}
        yield Example({"ndim": 2, **common, **grouped}, ((2, 2, 9, 8),))
        yield Example(
            {"ndim": 3, **common, "kernel_size": 2, "bias": False, "routing": "external"}, ((2, 2, 3, 2, 3), (2, 2))
        )
        yield Example({"ndim": 4, **common, "kernel_size": 1, "num_experts": 1}, ((1, 2, 2, 1, 2, 2),))


class CondConvTranspose(_Conditional):
    """The transpose of `CondConv`: for given routing weights the adjoint of the convolution with the same experts.

    Formula: `y = conv_transpose(x, Σ_i r_i(x) W_i, Σ_i r_i(x) c_i)` for each sample.

    Shapes: input (batch, in, *m), returns (batch, out, *n) as `ConvTranspose`; weight (num_experts, in, out / groups, *kernel_size)
    is that of the `CondConv` from out to in channels, bias (num_experts, out).

    Args:
        num_experts, routing: as for `CondConv`.   All others: as for `ConvTranspose`.

    Raises:
        ArgumentError: settings that name no layer; routing weights that are missing or have another shape.

    Example:
        >>> CondConvTranspose(1, 4, 2, 2, stride=2)(torch.zeros(1, 4, 5)).shape
        torch.Size([1, 2, 10])
    """

    name = "cond-conv-transpose"
    summary = "the transpose of a convolution whose kernel is a mixture of experts"
    source = (
        "Yang, Bender, Le, Ngiam, CondConv: conditionally parameterized convolutions for efficient inference (2019)"
    )
    cost = "in / groups · Π kernel_size for each sample of the input, and num_experts for each number of the kernel"
    portrait = shown("photo", (1, 1, 48, 48), ndim=2, in_channels=1, out_channels=2, kernel_size=6, stride=2, padding=2)
    transposed = True

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        num_experts: int = 4,
        routing: Any = "gap-sigmoid",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self._route(num_experts, routing, bias, {"device": device, "dtype": dtype}, output_padding)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 4, "out_channels": 2, "kernel_size": 3, "num_experts": 2}
        yield Example({"ndim": 1, **common, "stride": 3, "padding": 1, "output_padding": 1}, ((2, 4, 4),))
        yield Example(
            {"ndim": 2, **common, "stride": 2, "groups": 2, "bias": False, "routing": "external"},
            ((2, 4, 9, 8), (2, 2)),
        )
