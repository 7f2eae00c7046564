"""Fourier transforms as products with small matrices, one for each factor of the length."""
