"""One filter a channel, along one axis or two: its contract in NumPy and its kernels by tool."""
