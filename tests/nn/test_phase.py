"""Layers that keep phases work along one to four axes; the contract suite sees fewer, for time."""

import pytest
import torch

from faltung import nn
from faltung.testing.layers import near

KINDS = {
    nn.BlurPool: (), nn.MaxBlurPool: (), nn.BlurUnpool: (), nn.PolyphaseDownsample: (), nn.PolyphaseAnchor: (2,),
    nn.IdealLowPass: (), nn.IdealResample: (2,), nn.AliasFreeActivation: (2,), nn.AliasFreeMLP: (2, 1),
    nn.AliasFreeBlock: (2, 3, 1), nn.AliasFreeStem: (2,), nn.ScaleFourierConv: (2, 2, 5, 3),
    nn.ScaleNonlinearity: ("relu", 1), nn.CropSelect: (2,),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_every_dimension_by_its_definition(kind, ndim):
    torch.manual_seed(0)
    layer = kind(ndim, *KINDS[kind]).double()
    x = torch.randn(2, 2, *[4] * ndim, dtype=torch.float64)
    near(layer(x), layer.definition(x), 1e-10, f"{kind.name} along {ndim} axes")
