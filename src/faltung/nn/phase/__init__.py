"""Shifts and scales that commute with a layer: what sampling and activations lose of them, and the forms that lose nothing."""

from torch import nn

from faltung.nn.base import Layer
from faltung.nn.phase.alias_free import AliasFreeActivation, AliasFreeMLP, Oversampled, PolyActivation
from faltung.nn.phase.blur import BlurPool, BlurUnpool, MaxBlurPool
from faltung.nn.phase.convnext import AliasFreeBlock, AliasFreeStem, GlobalLayerNorm, alias_free_convnext
from faltung.nn.phase.crop import CropSelect
from faltung.nn.phase.ideal import IdealLowPass, IdealResample
from faltung.nn.phase.polyphase import Anchored, PolyphaseAnchor, PolyphaseDownsample, PolyphaseUpsample
from faltung.nn.phase.scale import ScaleFourierConv, ScaleNonlinearity
from faltung.nn.phase.scale_stack import ScaleStack, scale_equivariance_error, scale_order_loss

ALL: tuple[type[Layer], ...] = (
    BlurPool, MaxBlurPool, BlurUnpool, PolyphaseDownsample, PolyphaseAnchor, IdealLowPass, IdealResample, PolyActivation,
    AliasFreeActivation, AliasFreeMLP, GlobalLayerNorm, AliasFreeStem, AliasFreeBlock, ScaleFourierConv, ScaleNonlinearity,
    CropSelect,
)  # fmt: skip
MODULES: tuple[type[nn.Module], ...] = (PolyphaseUpsample, Anchored, Oversampled, ScaleStack)

__all__ = ["ALL", "MODULES", "alias_free_convnext", "scale_equivariance_error", "scale_order_loss"]
