"""Tables of `benchmarks/gpu.py`: `page` keeps and measures rows, the other modules say what is compared."""
