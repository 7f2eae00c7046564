"""Sums of products of spectra along a line of past blocks: the inner loop of partitioned convolution."""
