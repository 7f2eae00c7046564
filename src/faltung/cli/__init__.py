"""The command line: `faltung convolve photo.png -k gaussian:sigma=4 -o soft.png`. Commands are in `commands`, the work in `apply`.

A mistake is answered by one sentence on the error stream and exit code 2; anything else that fails is a bug and shows its trace.
"""

import signal
import sys
from collections.abc import Sequence

from faltung.errors import FaltungError, MissingExtraError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 a mistake in the call or its files, 130 interrupted.

    Args:
        arguments: the words after `faltung`. Default: those of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from faltung.cli.commands import run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        missing = MissingExtraError.of(
            "the command line", "the packages typer and rich", "an installation without them",
            "run: pip install 'faltung[cli]'",
        )  # fmt: skip
        return _complain(str(missing))
    if arguments is None:  # as a program: a polite kill unwinds like an interrupt, so that half-written files vanish
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(given)
    except KeyboardInterrupt:
        _complain("interrupted; no half-written file is left")
        return 130
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        return 0
    except (FaltungError, MemoryError) as error:
        return _complain(str(error) or "not enough memory for this; give --memory a smaller budget")


def _complain(sentence: str) -> int:
    print("faltung: " + " ".join(sentence.split()), file=sys.stderr)
    return 2
