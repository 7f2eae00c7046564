"""Sums of parallel convolutions, and filters that are fixed, weighted or merged."""

from faltung.nn.base import Layer
from faltung.nn.branches.large_kernel_block import LargeKernelBlock
from faltung.nn.branches.reparam import DilatedReparam

ALL: tuple[type[Layer], ...] = (
    DilatedReparam,
    LargeKernelBlock,
)
