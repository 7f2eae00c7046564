"""Sums over a few named channels at every position."""
