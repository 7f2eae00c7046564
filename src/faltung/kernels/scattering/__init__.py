"""One operation: its contract in NumPy and its kernels by tool."""
