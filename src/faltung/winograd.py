"""Winograd transforms as a tool: exact matrices, their certificate and error, and the search for interpolation points."""

from faltung.kernels.winograd import amplification, certify, kappa, nova_points, points, transforms

__all__ = ["amplification", "certify", "kappa", "nova_points", "points", "transforms"]
