"""The kernels: one numeric operation a folder, one file a tool, one line each here.

A kernel knows no domain and no problem, only pointers and sizes. Each folder's `contract.py` says in NumPy what its kernels
compute; the kernel suite holds every tool's version against it.
"""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType


@dataclass(frozen=True)
class Kernel:
    """One operation in one tool: where it lives and what it computes. Nothing is compiled before it is used."""

    name: str
    tool: str
    summary: str
    source: str
    home: str

    @property
    def module(self) -> ModuleType:
        return import_module(f"faltung.kernels.{self.home}.on_{self.tool}")

    @property
    def contract(self) -> ModuleType:
        """The NumPy reference."""
        return import_module(f"faltung.kernels.{self.home}.contract")


ALL: tuple[Kernel, ...] = (
    Kernel(
        "rows",
        "numba",
        "rows of a signal against rows of taps, any algebra, stride and dilation",
        "the definition",
        "correlate",
    ),
    Kernel(
        "blocks",
        "numba",
        "sums of products in register blocks, the signal's tiles and their boundary gathered into the cache",
        "Goto and van de Geijn (2008)",
        "blocks",
    ),
    Kernel(
        "indirect",
        "numba",
        "sums of products with channels innermost, rows of the signal found by address",
        "Dukhan (2019)",
        "indirect",
    ),
    Kernel(
        "minimal",
        "numba",
        "Winograd tiles in the lanes of vectors, products point by point through the cache",
        "Winograd (1980); Lavin and Gray (2016)",
        "winograd",
    ),
    Kernel(
        "separable",
        "numba",
        "a filter in space for each channel and a mix of channels, without the array between the two",
        "Goto and van de Geijn (2008) for the blocks",
        "separable",
    ),
    Kernel(
        "inverted-block",
        "numba",
        "an inverted bottleneck beside its shortcut, wide channels for a band of rows only",
        "Sandler et al. (2018); Lavin (2024) for the one pass",
        "block",
    ),
    Kernel(
        "first-block",
        "numba",
        "a grouped convolution and a pointwise network beside their shortcut, wide channels for a band of rows only",
        "Lavin (2024)",
        "block",
    ),
    Kernel(
        "mix",
        "numba",
        "sums over a few named channels at every position",
        "the definition",
        "mix",
    ),
    Kernel(
        "pointwise",
        "numba",
        "sums over channels at every position, channels first",
        "Goto and van de Geijn (2008)",
        "pointwise",
    ),
    Kernel(
        "field",
        "numba",
        "sums of products whose filter changes from place to place, vectors along rows of places",
        "LeCun (1989), local connections; Goto and van de Geijn (2008)",
        "field",
    ),
    Kernel(
        "planes",
        "numba",
        "each channel filtered by its own few taps, in place or within larger tensors",
        "the definition",
        "planes",
    ),
    Kernel(
        "gather",
        "numba",
        "weighted sums of rows named by number",
        "Jeon and Kim (2017), sampling between places",
        "gather",
    ),
    Kernel(
        "paired",
        "numba",
        "products of listed pairs of values, added where the list says",
        "the definition",
        "scatter",
    ),
    Kernel(
        "hadamard",
        "numba",
        "the Walsh–Hadamard transform along one axis, levels in registers, in the cache, in strips of long lines",
        "Good (1958); Fino and Algazi (1976)",
        "hadamard",
    ),
    Kernel(
        "zeta",
        "numba",
        "sums, maxima and minima over all subsets or supersets along one axis, and the inverse of the sums",
        "Yates (1937); Björklund et al. (2007)",
        "zeta",
    ),
    Kernel(
        "states",
        "numba",
        "sets of packed states: neighbours by masks and shifts, radix sort, what is new, unions",
        "Knuth, The Art of Computer Programming 3 (1973)",
        "cayley",
    ),
    Kernel(
        "ranks",
        "numba",
        "permutations by their ranks: neighbours of sets of bits, layers of distances modulo 3",
        "Lehmer (1960) for ranks",
        "ranks",
    ),
    Kernel("turned", "numba", "transpositions by squares that turn in registers", "Eklundh (1972)", "turn"),
    Kernel(
        "passes",
        "numba",
        "rows of taps, or windows by doubling, along one axis after the other within a tile of the cache",
        "Treitel and Shanks (1971); Pecht (1985)",
        "passes",
    ),
    Kernel(
        "running", "numba", "sums of neighbours along one axis, each from the one before", "McDonnell (1981)", "scan"
    ),
    Kernel(
        "semiring-product",
        "numba",
        "matrix products over any algebra, first choices, closures of small matrices",
        "Goto and van de Geijn (2008); Kleene (1956)",
        "semiring_product",
    ),
    Kernel(
        "monotone",
        "numba",
        "smallest sums of a signal and convex taps within a window, along one axis",
        "Aggarwal, Klawe, Moran, Shor and Wilber (1987)",
        "monotone",
    ),
    Kernel(
        "united",
        "numba",
        "unions of shifted rows of bits, 64 positions a word",
        "Baeza-Yates and Gonnet (1992)",
        "bits",
    ),
    Kernel(
        "log-sums",
        "numba",
        "exponentials, logarithms of sums, and sums of exponentials around their own maximum with their shares",
        "log-sum-exp; Cody and Waite (1980)",
        "log_sums",
    ),
    Kernel(
        "selected",
        "numba",
        "cotangents of an ordered correlation, each to the first term that attains its result",
        "subgradient of a maximum, Danskin (1967)",
        "selection",
    ),
    Kernel(
        "enlarged",
        "numba",
        "interpolation to another size added to a signal, and its transpose, row by row in the cache",
        "the definition",
        "enlarge",
    ),
    Kernel(
        "envelope",
        "numba",
        "lowest of the parabolas that the samples of a row lift, within a window, along one axis",
        "Felzenszwalb and Huttenlocher (2012); van Herk (1992)",
        "envelope",
    ),
    Kernel(
        "wavefront",
        "numba",
        "recurrences over a grid, all positions of a diagonal at once",
        "Lamport, hyperplane method (1974)",
        "triangular",
    ),
    Kernel(
        "placed",
        "numba",
        "elements at real positions given to the taps around them, and the derivatives of that",
        "Khalfaoui-Hassani et al. (2023)",
        "place",
    ),
    Kernel("delayed", "numba", "sums of signals, each with a weight and a shift of its own", "the definition", "delay"),
    Kernel("orbit", "numba", "a point moved by affine maps drawn one after another", "Barnsley (1988)", "orbit"),
    Kernel(
        "delay-line",
        "numba",
        "sums of products of spectra along a line of past blocks",
        "Kulp (1988); Wefers (2015)",
        "delay_line",
    ),
    Kernel(
        "negacyclic",
        "numba",
        "long convolutions modulo z^F − i and all their derivatives, each signal by itself",
        "Nussbaumer (1980); Bailey (1990)",
        "negacyclic",
    ),
    Kernel(
        "scanned",
        "numba",
        "a table of transitions run over symbols, until a state is unknown or wanted",
        "Rabin and Scott (1959)",
        "automaton",
    ),
    Kernel(
        "found",
        "numba",
        "all matches in a text: ends by a table, starts by another from there backward",
        "Cox (2010), in automata that find leftmost-longest matches",
        "automaton",
    ),
    Kernel(
        "weighed",
        "numba",
        "weights of words by sparse vector-matrix steps, any algebra of machine numbers",
        "Schützenberger (1961)",
        "automaton",
    ),
    Kernel(
        "rounded",
        "numba",
        "floating-point results into small integers, to nearest even, saturating",
        "IEEE 754",
        "convert",
    ),
    Kernel(
        "fourier",
        "scipy",
        "transforms of the last axes and products between channels",
        "Cooley and Tukey (1965)",
        "fourier",
    ),
    Kernel(
        "monarch",
        "numpy",
        "transforms as products with small matrices, spectra in the order of their digits",
        "Dao et al. (2022)",
        "monarch",
    ),
    Kernel(
        "ntt",
        "numba",
        "transforms of residues modulo primes below 2^49, of 4, 5, 6 or 7 quarters of a power of two",
        "Pollard (1971); van der Hoeven (2004); van der Hoeven, Lecerf and Quintin (2016)",
        "ntt",
    ),
    Kernel(
        "modular",
        "numba",
        "products of short polynomials modulo any number, and integers from their residues",
        "Karatsuba and Ofman (1962); López and Dahab (2000); Garner (1959)",
        "modular",
    ),
    Kernel(
        "tiles",
        "numba",
        "overlap-save with a tile or a pair of tiles in each lane of the vectors",
        "Gentleman and Sande (1966); Stockham (1966)",
        "fourier",
    ),
    Kernel(
        "scattered",
        "numba",
        "wavelets, moduli, wavelets, moduli and averages of signals in the lanes of vectors",
        "Mallat (2012); Gentleman and Sande (1966)",
        "scattering",
    ),
    Kernel(
        "long",
        "triton",
        "convolutions of rows with filters as long, gated or not, by transforms that are products of small matrices",
        "Fu, Kumbong, Nguyen and Ré (2024); Nussbaumer (1981)",
        "long",
    ),
    Kernel(
        "bands",
        "triton",
        "one filter a channel along one axis or two, as products with band matrices, and both gradients",
        "Chellapilla, Puri and Simard (2006)",
        "bands",
    ),
    Kernel(
        "windows",
        "triton",
        "maxima, minima and logarithms of sums over windows, and their gradients",
        "the definition; Danskin (1967)",
        "windows",
    ),
    Kernel(
        "rows-by-number",
        "triton",
        "weighted sums of rows named by number, by lists of any lengths, and both transposes without atomic additions",
        "the definition",
        "gather",
    ),
)

__all__ = ["ALL", "Kernel"]
