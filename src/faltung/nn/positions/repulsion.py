"""The pressure that keeps the elements of a model's kernels apart."""

import torch
from torch import Tensor, nn

from faltung.nn.positions.dcls import DCLSConv


def repulsion(model: nn.Module) -> Tensor:
    """The mean of `DCLSConv.repulsion` over the layers of a model; its square is what is added to the loss. 0 without such layers.

    Source: Khalfaoui-Hassani, Pellegrini and Masquelier, Dilated convolution with learnable spacings (2023).
    """
    found = [layer.repulsion() for layer in model.modules() if isinstance(layer, DCLSConv)]
    return torch.stack(found).mean() if found else torch.zeros(())
