"""A problem: the facts of one convolution, and no values.

Everything that a plan may depend on is in here, so equal problems have equal plans. `text` writes a problem as one line,
`Problem.parse` reads it back.
"""

import math
import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from operator import index
from typing import Any, cast

from faltung import algebras, domains
from faltung.algebras import Algebra
from faltung.domains import Boundary, FiniteDomain, Grid, Index
from faltung.errors import ArgumentError, DtypeError
from faltung.pattern import Pattern

ITEMSIZE = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
}
ITEMSIZE |= {"float32": 4, "int64": 8, "uint64": 8, "float64": 8, "complex64": 8, "complex128": 16}
ITEMSIZE |= {"object": 80}  # a pointer and a Python integer of a few digits


@dataclass(frozen=True)
class Spec:
    """The shape and dtype of an array that need not exist: what `plan` takes in place of arrays.

    Example:
        >>> Spec((2048, 2048), "float32")
        Spec(shape=(2048, 2048), dtype='float32')
    """

    shape: tuple[int, ...]
    dtype: str = "float64"

    def __post_init__(self) -> None:
        try:
            shape = tuple(index(n) for n in self.shape)
        except TypeError:
            raise ArgumentError.of(
                "Spec", "a tuple of whole numbers", repr(self.shape), "write Spec((2048, 2048))"
            ) from None
        if any(n < 0 for n in shape):
            raise ArgumentError.of("Spec", "sizes of at least 0", repr(self.shape), "correct the shape")
        if self.dtype not in ITEMSIZE:
            raise DtypeError.of(
                "Spec", f"a dtype among {', '.join(sorted(ITEMSIZE))}", repr(self.dtype), "spell it as NumPy does"
            )
        object.__setattr__(self, "shape", shape)


@dataclass(frozen=True)
class Problem:
    """One convolution: pattern, domain, algebra, shapes, dtypes, geometry, and which of the three arrays is unknown.

    `unknown` is `out` for the convolution itself; `x` and `k` name its two adjoints, the gradients: the array of that name is
    computed from the other operand and an array of the output's shape. All three share every other field.

    Fields:
        flip: True for convolution, False for correlation.   pads, stride, dilation, boundary: one entry a spatial axis.
        host: whose arrays come, `numpy` or `torch`.   device: `cpu` or a torch device such as `cuda:0`.
    """

    flip: bool
    pattern: str
    x_shape: tuple[int, ...]
    k_shape: tuple[int, ...]
    x_dtype: str
    k_dtype: str
    out_dtype: str
    pads: tuple[tuple[int, int], ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    boundary: tuple[Boundary, ...]
    algebra: str = "real"
    domain: str = "grid"
    unknown: str = "out"
    host: str = "numpy"
    device: str = "cpu"

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(
            tuple(value for name, value in vars(self).items() if name[0] != "_" and name in self.__dataclass_fields__)
        )

    # -- what follows from the fields ---------------------------------------------------------------------------------

    @cached_property
    def over(self) -> Algebra:
        return algebras.named(self.algebra)

    @cached_property
    def layout(self) -> Pattern:
        return Pattern.parse(self.pattern)

    @cached_property
    def sizes(self) -> "Sizes":
        """Sizes of the canonical axes: B (shared), N (signal only), O (filter only), C (contracted)."""
        of = self.layout.letter_sizes(self.x_shape, self.k_shape)
        return Sizes(*(math.prod(of[name] for name in self.layout.roles[role]) for role in "BNOC"))

    @cached_property
    def on(self) -> "domains.Domain | FiniteDomain":
        return domains.named(self.domain)

    @cached_property
    def grid(self) -> Grid:
        """The geometry; on a finite set of indices the `Index`, which answers the planner's questions as a grid does."""
        n = self.layout.spatial(self.layout.x, self.x_shape)
        t = self.layout.spatial(self.layout.k, self.k_shape)
        if isinstance(self.on, FiniteDomain):
            return cast(Grid, Index(self.on, n, t, self.flip))
        return Grid(n, t, self.pads, self.stride, self.dilation, self.boundary)

    @cached_property
    def out_shape(self) -> tuple[int, ...]:
        return self.layout.out_shape(self.x_shape, self.k_shape, self.grid.m)

    @cached_property
    def compute_dtype(self) -> str:
        """The dtype of the arithmetic: wide enough for operands and result. `checked` has refused pairs that have none."""
        dtype = self.over.compute(self.x_dtype, self.k_dtype)
        assert dtype is not None
        wider = {"float32": "float64", "complex64": "complex128"}
        return wider[dtype] if self.out_dtype in ("float64", "complex128") and dtype in wider else dtype

    @cached_property
    def channels_last(self) -> bool:
        """Whether signal and result come with channels innermost, as the pattern says."""
        layout = self.layout
        return layout.x[-1] != layout.star and layout.y[-1] != layout.star

    @property
    def empty(self) -> bool:
        """Whether an axis has no entries, so that the result is empty or the algebra's zero."""
        return 0 in vars(self.sizes).values()

    @cached_property
    def depth(self) -> int:
        """How many products meet in one value of the unknown: the C of the classical error bounds."""
        s, g = self.sizes, self.grid
        if isinstance(g, Index):
            return max(1, {"out": s.C, "x": s.O, "k": s.N}[self.unknown] * g.depths[self.unknown])
        if self.unknown == "out":
            return max(1, s.C * g.taps)
        outputs = math.prod(g.m)
        return max(1, s.O * min(g.taps, outputs) if self.unknown == "x" else s.N * outputs)

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of the definition: B·N·O·C·∏m·∏t."""
        s, g = self.sizes, self.grid
        if isinstance(g, Index):
            return s.B * s.N * s.O * s.C * g.pairs
        return s.B * s.N * s.O * s.C * math.prod(g.m) * g.taps

    @cached_property
    def result_shape(self) -> tuple[int, ...]:
        return {"out": self.out_shape, "x": self.x_shape, "k": self.k_shape}[self.unknown]

    @cached_property
    def result_dtype(self) -> str:
        own = {"out": self.out_dtype, "x": self.x_dtype, "k": self.k_dtype}[self.unknown]
        # Residues and Python's numbers need not fit the operand's own type.
        return own if self.unknown == "out" or self.over.arithmetic == "machine" else self.compute_dtype

    def gradient(self, unknown: str) -> "Problem":
        """The same convolution with another unknown: the adjoint map that yields `x` or `k`; ArgumentError for other words."""
        return checked(replace(self, unknown=unknown))

    # -- one line of text, both ways ----------------------------------------------------------------------------------

    @cached_property
    def text(self) -> str:
        """The problem as one line; `Problem.parse` reads it back."""
        words = ["convolve" if self.flip else "correlate", f'"{self.pattern}"']
        words += [
            f"x={_shape(self.x_shape)}:{self.x_dtype}",
            f"k={_shape(self.k_shape)}:{self.k_dtype}",
            f"out={self.out_dtype}",
        ]
        if self.pads:
            words.append("pad=" + ",".join(f"{lo}:{hi}" for lo, hi in self.pads))
        if any(s != 1 for s in self.stride):
            words.append(f"stride={_shape(self.stride)}")
        if any(d != 1 for d in self.dilation):
            words.append(f"dilation={_shape(self.dilation)}")
        if self.boundary:
            words.append("boundary=" + ",".join(b.text for b in self.boundary))
        for name, usual in (
            ("algebra", "real"),
            ("domain", "grid"),
            ("unknown", "out"),
            ("host", "numpy"),
            ("device", "cpu"),
        ):
            if getattr(self, name) != usual:
                words.append(f"{name}={getattr(self, name)}")
        return " ".join(words)

    @classmethod
    @lru_cache(maxsize=4096)
    def parse(cls, text: str) -> "Problem":
        """Read the one-line form.

        Raises:
            ArgumentError: with the word that is not understood.
        """
        head = isinstance(text, str) and re.fullmatch(r'\s*(convolve|correlate)\s+"([^"]*)"\s+(.*?)\s*', text)
        if not head:
            raise ArgumentError.of(
                "Problem.parse",
                "'convolve \"PATTERN\" x=SHAPE:DTYPE k=SHAPE:DTYPE ...'",
                repr(text),
                "print a problem's text to see the form",
            )
        words: dict[str, Any] = {}
        for word in head[3].split():
            name, equals, value = word.partition("=")
            if not equals or name not in _WORDS or name in words:
                raise ArgumentError.of(
                    "Problem.parse", f"each of {', '.join(_WORDS)} at most once", repr(word), "correct that word"
                )
            words[name] = value
        try:
            x_shape, x_dtype = _sized(words.pop("x"))
            k_shape, k_dtype = _sized(words.pop("k"))
            pads = tuple((int(p.split(":")[0]), int(p.split(":")[1])) for p in words.pop("pad", "").split(",") if p)
            ndim = len(pads)
            fields: dict[str, Any] = {
                "stride": _ints(words.pop("stride", "1," * ndim)),
                "dilation": _ints(words.pop("dilation", "1," * ndim)),
                "boundary": _boundaries(words.pop("boundary", "constant"), ndim),
                "out_dtype": words.pop("out", x_dtype),
            }
        except (KeyError, ValueError, IndexError) as error:
            if isinstance(error, ArgumentError):
                raise
            raise ArgumentError.of(
                "Problem.parse",
                "x, k and pad with whole numbers",
                f"{text!r} ({error})",
                "print a problem's text to see the form",
            ) from None
        return checked(
            cls(head[1] == "convolve", head[2], x_shape, k_shape, x_dtype, k_dtype, pads=pads, **fields, **words)
        )


_WORDS = ("x", "k", "out", "pad", "stride", "dilation", "boundary", "algebra", "domain", "unknown", "host", "device")


@dataclass(frozen=True)
class Sizes:
    """Sizes of the canonical axes of one problem."""

    B: int
    N: int
    O: int
    C: int


def checked(problem: Problem) -> Problem:
    """The problem itself if it names a convolution; otherwise an error that says what is wrong with it.

    Raises:
        ArgumentError: shapes against the pattern, sizes, strides, dilations, an output without a single point.
        DtypeError: dtypes that the algebra does not compute with.
    """
    over = problem.over
    for name in (problem.x_dtype, problem.k_dtype, problem.out_dtype):
        if name not in ITEMSIZE:
            raise DtypeError.of(
                "problem", f"a dtype among {', '.join(sorted(ITEMSIZE))}", repr(name), "spell it as NumPy does"
            )
    if problem.host not in ("numpy", "torch") or not re.fullmatch(r"cpu|meta|[a-z]+(:\d+)?", problem.device):
        raise ArgumentError.of(
            "problem",
            "host numpy or torch, and a device such as cpu or cuda:0",
            f"{problem.host} and {problem.device}",
            "correct these",
        )
    if over.compute(problem.x_dtype, problem.k_dtype) is None:
        raise _dtype_error(problem)
    if problem.unknown not in ("out", "x", "k"):
        raise ArgumentError.of("unknown", "'out', 'x' or 'k'", repr(problem.unknown), "name one of the three arrays")
    if problem.unknown != "out" and problem.algebra != "boolean" and problem.result_dtype == "bool":
        raise DtypeError.of(
            f"gradient for {problem.unknown}", "numbers", "booleans", "cast the array to a number type first"
        )
    problem.layout.check(problem.x_shape, problem.k_shape)
    grid = problem.grid
    if isinstance(grid, Index):
        return _checked_index(problem, grid)
    for what, values in (
        ("pads", problem.pads),
        ("stride", problem.stride),
        ("dilation", problem.dilation),
        ("boundary", problem.boundary),
    ):
        if len(values) != grid.ndim:
            raise ArgumentError.of(
                what, f"{grid.ndim} entries, one for each spatial axis", f"{len(values)} ({values})", "match the axes"
            )
    for what, steps in (("stride", problem.stride), ("dilation", problem.dilation)):
        if any(step < 1 for step in steps):
            raise ArgumentError.of(what, "whole numbers of at least 1", str(steps), "use 1 to keep every point")
    if any(n < 1 for n in grid.n) or any(t < 1 for t in grid.t):
        raise ArgumentError.of(
            "convolve", "at least one sample and one tap along every spatial axis", f"x {problem.x_shape} and k {problem.k_shape}",
            "an empty array has no convolution; check how it was made",
        )  # fmt: skip
    if any(m < 1 for m in grid.m):
        raise ArgumentError.of(
            "convolve", f"a signal at least as long as the filter's reach {grid.reach}", f"padded sizes {grid.padded}",
            "use mode='full' or 'same', more padding, or a smaller filter or dilation",
        )  # fmt: skip
    return problem


def _checked_index(problem: Problem, index: Index) -> Problem:
    """The rest of `checked` for a finite set of indices."""
    on = index.domain
    if len(index.n) != 1 or len(index.t) != 1:
        raise ArgumentError.of(
            f"on={on.text!r}", "one axis that holds the indices", f"x {problem.x_shape} and k {problem.k_shape}",
            "name the other axes in the pattern",
        )  # fmt: skip
    if index.n != index.t:
        raise ArgumentError.of(
            f"on={on.text!r}", "as many values in the filter as in the signal", f"{index.t[0]} and {index.n[0]}",
            "pad the shorter with the algebra's zero",
        )  # fmt: skip
    for what in ("pads", "stride", "dilation", "boundary"):
        if getattr(problem, what):
            raise ArgumentError.of(
                f"on={on.text!r}",
                f"no {what}, which a finite set of indices does not have",
                str(getattr(problem, what)),
                "leave it out",
            )
    if index.size < 1:
        raise ArgumentError.of("convolve", "at least one index", "an empty axis", "check how the array was made")
    on.check(index.size)
    if not problem.flip and on.inverse(index.size) is None:
        raise ArgumentError.of(
            f"correlate on={on.text!r}", "a group, whose elements have inverses", on.summary, "use convolve"
        )
    return problem


def _dtype_error(problem: Problem) -> DtypeError:
    remedy = "cast the arrays first, for example with x.astype('float64')"
    if problem.algebra == "integer":
        remedy = "pass integer arrays, or over='real' for floating-point results"
    return DtypeError.of(
        f"over={problem.algebra!r}",
        f"dtypes among {', '.join(problem.over.dtypes)}",
        f"x {problem.x_dtype} and k {problem.k_dtype}",
        remedy,
    )


def _shape(values: tuple[int, ...]) -> str:
    return "x".join(map(str, values))


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(v) for v in re.split("[x,]", text) if v)


def _boundaries(text: str, ndim: int) -> tuple[Boundary, ...]:
    """One word an axis, or one for all."""
    read = tuple(Boundary.parse(word) for word in text.split(","))
    return read * ndim if len(read) == 1 else read


def _sized(text: str) -> tuple[tuple[int, ...], str]:
    shape, _, dtype = text.partition(":")
    return _ints(shape), dtype or "float32"
