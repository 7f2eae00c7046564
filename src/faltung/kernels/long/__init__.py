"""Long convolutions as products with small matrices: the contract in NumPy, how lengths are cut, and the kernels by tool."""
