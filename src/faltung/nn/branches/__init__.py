"""Sums of parallel convolutions, and filters that are fixed, weighted or merged."""

from faltung.nn.base import Layer
from faltung.nn.branches.dilated_columns import MultiColumnDilated
from faltung.nn.branches.inception import InceptionDWConv
from faltung.nn.branches.large_kernel_block import LargeKernelBlock
from faltung.nn.branches.metanext import MetaNeXtBlock
from faltung.nn.branches.multi_kernel import MultiKernelConv
from faltung.nn.branches.patches import PatchMerge, PatchStem
from faltung.nn.branches.period import PeriodFoldConv
from faltung.nn.branches.random_filters import RandomFilterConv
from faltung.nn.branches.reparam import DilatedReparam
from faltung.nn.branches.residual_blocks import ConvFirstBlock, MBConvBlock
from faltung.nn.branches.weighted import WeightedConv

ALL: tuple[type[Layer], ...] = (
    DilatedReparam,
    LargeKernelBlock,
    InceptionDWConv,
    MetaNeXtBlock,
    PatchStem,
    PatchMerge,
    MultiKernelConv,
    WeightedConv,
    RandomFilterConv,
    PeriodFoldConv,
    MultiColumnDilated,
    ConvFirstBlock,
    MBConvBlock,
)
