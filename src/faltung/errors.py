"""Every error a user can meet, one class a kind.

Each is also the built-in exception that NumPy and SciPy users already catch for that kind of mistake. A message names who
speaks, what was expected, what came, and what to do next; `ArgumentError.of` writes it in that order.
"""

from typing import Self


class FaltungError(Exception):
    """The root of all errors raised on purpose by this library."""

    @classmethod
    def of(cls, who: str, expected: str, came: str, remedy: str) -> Self:
        """Write the message in the one order that all errors share."""
        return cls(f"{who}: expected {expected}, but got {came}; {remedy}")


class ArgumentError(FaltungError, ValueError):
    """A shape, pattern, mode, boundary, stride or other argument that names no convolution."""


class DtypeError(FaltungError, TypeError):
    """An array or scalar type that the chosen algebra does not compute with."""


class ExactnessError(FaltungError, OverflowError):
    """An exact result that could leave the range of its integer type."""


class VerificationError(FaltungError, ArithmeticError):
    """A result that its linear-time check did not accept."""


class RefusedError(FaltungError, RuntimeError):
    """No method fits the policy, or a method asked for by name cannot serve the problem."""


class MemoryBudgetError(RefusedError, MemoryError):
    """The result or every method's scratch is larger than the memory that the policy allows."""


class MissingExtraError(FaltungError, ImportError):
    """An optional package is needed and is not installed."""


class FileError(FaltungError, OSError):
    """A file that cannot be read as what it claims to be, or cannot be written."""
