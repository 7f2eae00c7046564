"""The pattern: which axes of signal and filter meet how, written as in einsum with one starred group that is convolved.

| pattern | meaning |
|---|---|
| `*s, *s -> *s` | plain signals, any number of dimensions |
| `b c *s, o c *s -> b o *s` | a dense layer |
| `b c *s, c *s -> b c *s` | depthwise |
| `b g c *s, g o c *s -> b g o *s` | grouped |
| `b c *s, b o c *s -> b o *s` | one filter per sample |
| `*s c, *s -> *s c` | one filter for every channel of a channels-last image |

A letter's role follows from where it stands: in all three arrays it is *shared* (B), in signal and result *batch* (N), in filter
and result *output* (O), in signal and filter only it is *summed over* (C). Every method sees the canonical arrays
x (B, N, C, *n), k (B, O, C, *t), y (B, N, O, *m), with k in correlation order.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from faltung.errors import ArgumentError

PLAIN = "*s, *s -> *s"


@dataclass(frozen=True)
class Pattern:
    """A parsed pattern: the axis names of signal, filter and result, the starred group included."""

    text: str
    x: tuple[str, ...]
    k: tuple[str, ...]
    y: tuple[str, ...]

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> "Pattern":
        """Read a pattern; raises ArgumentError that names the axis at fault."""
        if not isinstance(text, str):
            raise ArgumentError.of(
                "pattern", "a string such as 'b c *s, o c *s -> b o *s'", repr(text), "write the axes' names"
            )
        halves = text.split("->")
        operands = halves[0].split(",")
        if len(halves) != 2 or len(operands) != 2:
            raise ArgumentError.of(
                "pattern", "two operands and a result, 'X, K -> Y'", repr(text), f"write for example {PLAIN!r}"
            )
        x, k, y = (tuple(part.split()) for part in (*operands, halves[1]))
        stars = [[a for a in axes if a.startswith("*")] for axes in (x, k, y)]
        if any(len(s) != 1 for s in stars) or len({s[0] for s in stars}) != 1:
            raise ArgumentError.of(
                "pattern", "one starred group, the same in all three arrays", repr(text), f"write for example {PLAIN!r}"
            )
        for who, axes in (("signal", x), ("filter", k), ("result", y)):
            for axis in axes:
                if not re.fullmatch(r"\*?[A-Za-z_][A-Za-z_0-9]*", axis):
                    raise ArgumentError.of(
                        "pattern", "axis names made of letters", f"{axis!r} in {text!r}", "rename that axis"
                    )
                if axes.count(axis) > 1:
                    raise ArgumentError.of(
                        "pattern", f"each axis once in the {who}", f"{axis!r} twice in {text!r}", "rename one of them"
                    )
        for axis in (*x, *k, *y):
            places = (axis in x, axis in k, axis in y)
            if places == (False, False, True):
                raise ArgumentError.of(
                    "pattern",
                    "result axes that a signal or filter has",
                    f"{axis!r} in {text!r}",
                    "drop it or add it left",
                )
            if not places[2] and places != (True, True, False):
                raise ArgumentError.of(
                    "pattern", "axes that meet another operand or the result", f"{axis!r} alone in {text!r}",
                    "sum that axis beforehand, or keep it right of '->'",
                )  # fmt: skip
        return cls(text, x, k, y)

    @cached_property
    def star(self) -> str:
        return next(a for a in self.x if a.startswith("*"))

    @cached_property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """The letters of each canonical axis, in the order of the result (contracted ones in the signal's order)."""
        plain = [a for a in self.y if a != self.star]
        return {
            "B": tuple(a for a in plain if a in self.x and a in self.k),
            "N": tuple(a for a in plain if a in self.x and a not in self.k),
            "O": tuple(a for a in plain if a not in self.x),
            "C": tuple(a for a in self.x if a in self.k and a not in self.y and a != self.star),
        }

    def ndim(self, axes: tuple[str, ...], shape: tuple[int, ...]) -> int:
        return len(shape) - (len(axes) - 1)

    def spatial(self, axes: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of the starred group in an array of that shape."""
        at = axes.index(self.star)
        return shape[at : at + self.ndim(axes, shape)]

    def letter_sizes(self, x_shape: tuple[int, ...], k_shape: tuple[int, ...]) -> dict[str, int]:
        """Size of every plain axis."""
        sizes: dict[str, int] = {}
        for axes, shape in ((self.k, k_shape), (self.x, x_shape)):
            sizes |= {a: shape[p.start] for a, p in self._places(axes, len(shape)).items() if a != self.star}
        return sizes

    def check(self, x_shape: tuple[int, ...], k_shape: tuple[int, ...]) -> None:
        """Raise ArgumentError unless the shapes fit the pattern and each other."""
        x_ndim, k_ndim = self.ndim(self.x, x_shape), self.ndim(self.k, k_shape)
        if x_ndim < 1 or k_ndim < 1 or x_ndim != k_ndim:
            raise ArgumentError.of(
                f"pattern {self.text!r}", "as many spatial axes in signal as in filter, at least one",
                f"x {x_shape} with {max(x_ndim, 0)} and k {k_shape} with {max(k_ndim, 0)}",
                "add axes of length 1, or name the channel axes in the pattern",
            )  # fmt: skip
        x_sizes = {a: x_shape[p.start] for a, p in self._places(self.x, len(x_shape)).items()}
        for axis, place in self._places(self.k, len(k_shape)).items():
            if axis != self.star and axis in x_sizes and x_sizes[axis] != k_shape[place.start]:
                raise ArgumentError.of(
                    f"pattern {self.text!r}", f"axis {axis!r} equally long in signal and filter",
                    f"{x_sizes[axis]} in x {x_shape} and {k_shape[place.start]} in k {k_shape}",
                    "match the shapes or rename the axis",
                )  # fmt: skip

    def out_shape(self, x_shape: tuple[int, ...], k_shape: tuple[int, ...], m: tuple[int, ...]) -> tuple[int, ...]:
        sizes = self.letter_sizes(x_shape, k_shape)
        return tuple(s for a in self.y for s in (m if a == self.star else (sizes[a],)))

    def _places(self, axes: tuple[str, ...], ndim: int) -> dict[str, slice]:
        places, at = {}, 0
        for axis in axes:
            width = ndim - len(axes) + 1 if axis == self.star else 1
            places[axis] = slice(at, at + width)
            at += width
        return places

    def places(self, axes: tuple[str, ...], names: tuple[str, ...], ndim: int) -> tuple[int, ...]:
        """The axes of an array whose pattern is `axes`, in the order of `names`."""
        at = self._places(axes, ndim)
        return tuple(place for name in names for place in range(at[name].start, at[name].stop))

    @lru_cache(maxsize=1024)  # noqa: B019 - patterns are few and frozen
    def order(self, axes: tuple[str, ...], roles: str, ndim: int) -> tuple[int, ...] | None:
        """The axes of an array in canonical order, letters of a role side by side; None where they are in order already."""
        places = self._places(axes, ndim)
        order = [places[name].start for role in roles for name in self.roles[role]]
        order += range(places[self.star].start, places[self.star].stop)
        return None if order == sorted(order) else tuple(order)


def permuted(array: Any, order: tuple[int, ...]) -> Any:
    """Axes in another order, for NumPy and torch arrays."""
    return array.permute(order) if hasattr(array, "permute") else array.transpose(order)
