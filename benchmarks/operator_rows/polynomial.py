"""Learnt activations against tensors of all powers, and the Hadamard perceptron against products with dense matrices."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from faltung import nn as ours
from operator_rows import Row
from operator_rows.attention import both


def powers(layer: ours.HermiteActivation, x: Tensor) -> Tensor:
    """The basis in an axis of its own, then a sum over it."""
    basis = [torch.ones_like(x), x]
    for k in range(1, layer.degree):
        basis.append((x * basis[-1] - basis[-2]) / (k + 1))
    return (torch.stack(basis, -1) * layer.coefficient[0]).sum(-1)


def cosines(layer: ours.FourierActivation, x: Tensor) -> Tensor:
    """All cosines in an axis of their own, then a sum over it."""
    sizes = layer.amplitude[0, 1:] / torch.tensor([float(math.factorial(k + 1)) for k in range(layer.degree)])
    return layer.amplitude[0, 0] + (sizes * torch.cos(x.unsqueeze(-1) * layer.frequency[0] - layer.phase[0])).sum(-1)


def maxima(layer: ours.TropicalActivation, x: Tensor) -> Tensor:
    """All lines in an axis of their own, then the largest."""
    lines = x.unsqueeze(-1) * torch.arange(layer.degree + 1) + layer.intercept[0]
    return lines.amax(-1) * math.sqrt(2) / layer.degree


def dense(layer: ours.HadamardPerceptron, x: Tensor) -> Tensor:
    """Transforms as products with matrices, path by path."""
    matrices = []
    for n in layer.padded:
        matrix = torch.ones(1, 1)
        for _ in range(n.bit_length() - 1):
            matrix = torch.kron(matrix, torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        matrices.append(matrix)
    rows, columns = matrices
    x = torch.nn.functional.pad(x, [0, columns.shape[0] - x.shape[3], 0, rows.shape[0] - x.shape[2]])
    spectrum, total = rows @ x @ columns, torch.zeros(())
    for i, weight in enumerate(layer.weight.chunk(layer.paths)):
        z = torch.nn.functional.conv2d(spectrum * layer.scale[i], weight)
        total = total + z.sign() * (z.abs() - layer.threshold[i].relu()).relu()
    y = rows @ total @ columns / math.prod(layer.padded)
    return y[..., : layer.kept[0], : layer.kept[1]]


def product(layer: ours.PolynomialConv, x: Tensor) -> Tensor:
    """A convolution of torch for each factor, one after the other."""
    factors = layer.factors[0]
    value = torch.nn.functional.conv2d(x, factors[0], padding=layer.branches.padding)
    for weight in factors[1:]:
        value = value + value * torch.nn.functional.conv2d(x, weight, padding=layer.branches.padding)
    return torch.nn.functional.conv2d(value, layer.mix.weight, layer.mix.bias)


def rows() -> Iterator[Row]:
    """Inference and training of each."""
    x = torch.randn(8, 64, 56, 56)
    for name, layer, peer in (
        ("hermite, degree 3", ours.HermiteActivation(), powers),
        ("fourier, degree 4", ours.FourierActivation(), cosines),
        ("tropical, degree 6", ours.TropicalActivation(), maxima),
    ):
        yield from both(f"{name}, 8 × 64 × 56²", layer, x, peer, "one axis more in torch")
    layer = ours.PolynomialConv2d(32, 32, 3, degree=3, padding=1)
    yield from both("polynomial 3², degree 3, 8 × 32 × 56²", layer, torch.randn(8, 32, 56, 56), product, "conv2d each")
    yield perceptron(ours.HadamardPerceptron2d(16, 16, 32), torch.randn(32, 16, 32, 32))


def perceptron(layer: ours.HadamardPerceptron, x: Tensor) -> Row:
    """Inference; the layer takes one size, so that it warms up on a single sample."""

    def forward(call, x=x):
        def run() -> Tensor:
            with torch.no_grad():
                return call(x)

        return run

    peers = {"dense matrices": forward(lambda a: dense(layer, a))}
    return Row("hadamard, 3 paths, 32 × 16 × 32², forward", forward(layer), peers, warm=forward(layer, x[:1]))
