"""Gram matrices that are convolutions."""
