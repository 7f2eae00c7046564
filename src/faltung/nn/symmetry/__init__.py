"""Layers whose results move predictably when their input is turned, mirrored or zoomed."""

from faltung.nn.base import Layer
from faltung.nn.symmetry.acting import act as act
from faltung.nn.symmetry.directions import directions as directions
from faltung.nn.symmetry.downsample import GroupDownsample, GroupUpsample
from faltung.nn.symmetry.downsample import complement as complement
from faltung.nn.symmetry.edge_product import tensor_product_with_sh as tensor_product_with_sh
from faltung.nn.symmetry.escn import ESCNConv
from faltung.nn.symmetry.field_activation import FourierReLU, GatedFields, NormReLU
from faltung.nn.symmetry.field_norm import FieldBatchNorm
from faltung.nn.symmetry.gaunt import GauntPower, GauntProduct
from faltung.nn.symmetry.group_conv import GroupConv
from faltung.nn.symmetry.groups import grid_group as grid_group
from faltung.nn.symmetry.groups import subgroups as subgroups
from faltung.nn.symmetry.pool import GroupBatchNorm, GroupPool
from faltung.nn.symmetry.position_orientation import PositionOrientationBlock, PositionOrientationConv
from faltung.nn.symmetry.position_orientation_grid import PositionOrientationGrid
from faltung.nn.symmetry.radial_conv import RadialConv
from faltung.nn.symmetry.scale_conv import ScaleConv
from faltung.nn.symmetry.scale_pool import ScalePool
from faltung.nn.symmetry.shared_basis import share_basis as share_basis
from faltung.nn.symmetry.so2_conv import SO2Conv
from faltung.nn.symmetry.sphere_activation import SphereActivation
from faltung.nn.symmetry.steerable import SteerableConv
from faltung.nn.symmetry.steerable_space import PointConv, VoxelConv

ALL: tuple[type[Layer], ...] = (
    GroupConv,
    GroupPool,
    GroupBatchNorm,
    GroupDownsample,
    GroupUpsample,
    SteerableConv,
    VoxelConv,
    PointConv,
    NormReLU,
    GatedFields,
    FieldBatchNorm,
    FourierReLU,
    GauntProduct,
    GauntPower,
    SO2Conv,
    ESCNConv,
    SphereActivation,
    PositionOrientationConv,
    PositionOrientationGrid,
    PositionOrientationBlock,
    RadialConv,
    ScaleConv,
    ScalePool,
)
