"""The papers behind a model."""

from torch import nn

from faltung.errors import DtypeError
from faltung.nn.base import Layer


def cite(model: nn.Module) -> list[str]:
    """Print the sources of all faltung layers in a model, each once, with the layers that follow it, and return them.

    Raises:
        DtypeError: not a torch module.

    Example:
        >>> from faltung.nn import Conv2d
        >>> cite(nn.Sequential(Conv2d(1, 2, 3), nn.ReLU()))
        LeCun et al., Backpropagation applied to handwritten zip code recognition (1989) [Conv]
        ['LeCun et al., Backpropagation applied to handwritten zip code recognition (1989)']
    """
    if not isinstance(model, nn.Module):
        raise DtypeError.of("cite", "a torch module", type(model).__name__, "pass the model itself")
    users: dict[str, set[str]] = {}
    for module in model.modules():
        if isinstance(module, Layer):
            users.setdefault(module.source, set()).add(type(module).__name__)
    for source, layers in users.items():
        print(f"{source} [{', '.join(sorted(layers))}]")
    return list(users)
