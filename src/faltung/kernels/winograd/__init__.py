"""Winograd transforms: exact matrices from interpolation points, their certificate, their error, and the search for points."""

from faltung.kernels.winograd.points import amplification, kappa, nova_points, points
from faltung.kernels.winograd.table import TABLE
from faltung.kernels.winograd.transforms import Transforms, certify, transforms

__all__ = ["TABLE", "Transforms", "amplification", "certify", "kappa", "nova_points", "points", "transforms"]
