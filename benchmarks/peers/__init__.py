"""The peers: one library a file. `calls(problem, hint, x, k, y)` returns the calls with which it can do the job, by label.

Arrays come as NumPy arrays in the problem's axes; a call returns an array of the result's shape (NumPy or torch).
"""

from peers import with_numpy, with_opencv, with_scipy, with_torch

ALL = (with_torch, with_scipy, with_opencv, with_numpy)
