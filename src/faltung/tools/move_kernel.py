"""Kernels moved between samples: circular translation and rotation about the centre, for any number of axes."""

from faltung.nn.functional.motion import rotate_kernel, translate_kernel

__all__ = ["rotate_kernel", "translate_kernel"]
