"""What the user allows: an error, a memory budget, named methods. It travels as an argument; nothing here is global."""

from dataclasses import dataclass, fields
from typing import Any

from faltung.errors import ArgumentError


@dataclass(frozen=True)
class Policy:
    """Limits on how a convolution may be computed.

    Args:
        tolerance: largest error bound that a method may have, relative to max|x| · ‖k‖₁, in (0, 1).
            Default: 4096 unit roundoffs of the result's type (2.4e-4 for float32, 4.5e-13 for float64).
        memory: bytes that may be taken beside operands and result, copies in another dtype or order of axes included.
            Default: half of the machine's memory.
        deterministic: refuse methods whose result may differ between two runs. Default True.
        only: names of the methods to choose from; one name forces it. A forced method runs or raises, nothing stands in for it.
        without: names of methods not to use.
        calls: how often such a call will be made, about: a kernel that must be compiled first is used where it pays over so many
            calls. Default 100; layers of `faltung.nn` say 10,000, and `faltung tune` compiles beforehand.
        verify: check every result of a convolution against the definition at a random point, in linear time, before it is
            returned; raises VerificationError where it is not accepted. Default False.
        threads: how many threads kernels may use, at least 1. Default: all processors of this process.

    Example:
        >>> Policy(tolerance=1e-6, without=("fft",)).text
        'tolerance=1e-06 without=fft'
    """

    tolerance: float | None = None
    memory: int | None = None
    deterministic: bool = True
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    threads: int | None = None
    calls: int = 100
    verify: bool = False

    def __post_init__(self) -> None:
        for name in ("only", "without"):
            value = getattr(self, name)
            names = (value,) if isinstance(value, str) else value
            if not isinstance(names, (tuple, list)) or not all(isinstance(n, str) for n in names):
                raise ArgumentError.of(
                    "Policy", f"{name} as a method's name or several", repr(value), "write for example only='fft'"
                )
            object.__setattr__(self, name, tuple(names))
        for name, kinds in (("tolerance", (float, int)), ("memory", (int,)), ("threads", (int,)), ("calls", (int,))):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                raise ArgumentError.of("Policy", f"{name} as a number", repr(value), "leave it out for the default")
        for name in ("deterministic", "verify"):
            if not isinstance(value := getattr(self, name), bool):
                raise ArgumentError.of("Policy", f"{name} True or False", repr(value), "leave it out for the default")
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ArgumentError.of(
                "Policy", "a tolerance between 0 and 1", repr(self.tolerance), "leave it out for the default"
            )
        if self.memory is not None and self.memory <= 0:
            raise ArgumentError.of(
                "Policy", "a memory budget of at least one byte", repr(self.memory), "give bytes, such as 2**30"
            )
        if self.calls is None or self.calls < 1:
            raise ArgumentError.of("Policy", "at least one call", repr(self.calls), "leave it out for the default")
        if self.threads is not None and self.threads < 1:
            raise ArgumentError.of(
                "Policy", "at least one thread", repr(self.threads), "leave it out to use all processors"
            )

    @property
    def text(self) -> str:
        """The policy as one line, defaults left out; `Policy.parse` reads it back."""
        words = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                words.append(f"{field.name}={','.join(value) if isinstance(value, tuple) else repr(value)}")
        return " ".join(words)

    @classmethod
    def parse(cls, text: str) -> "Policy":
        """Read the one-line form; raises ArgumentError with the word that is not understood."""
        given: dict = {}
        read: dict[str, Any] = {
            "tolerance": float,
            "memory": int,
            "threads": int,
            "calls": int,
            "deterministic": {"True": True, "False": False}.__getitem__,
            "verify": {"True": True, "False": False}.__getitem__,
        }
        for word in text.split():
            name, _, value = word.partition("=")
            try:
                if name in given or name not in {f.name for f in fields(cls)}:
                    raise KeyError(name)
                given[name] = read[name](value) if name in read else tuple(v for v in value.split(",") if v)
            except (KeyError, ValueError):
                raise ArgumentError.of(
                    "Policy.parse",
                    f"each of {', '.join(f.name for f in fields(cls))} at most once, with a value",
                    repr(word),
                    "correct that word",
                ) from None
        return cls(**given)


DEFAULT = Policy()
