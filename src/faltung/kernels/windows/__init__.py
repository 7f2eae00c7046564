"""Direct convolution over algebras that compare or take logarithms: its contract in NumPy and its kernels by tool."""
