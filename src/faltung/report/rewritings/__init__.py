"""How findings are put right: one rewriting a file. Each takes a copy of the model and the report, and says what it did."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from faltung.report.rewritings.faster import faster
from faltung.report.rewritings.fold import fold
from faltung.report.rewritings.lines import in_lines
from faltung.report.rewritings.lowpass import antialiased
from faltung.report.rewritings.product import multiplied
from faltung.report.rewritings.removal import merged, removed

if TYPE_CHECKING:
    from faltung.report.report import Report

# In the order in which all are done: norms first, so that what they switch off is zero in the kernels.
REWRITINGS: dict[str, Callable[[Any, "Report"], tuple[Any, str]]] = {
    "E3": fold,
    "F5": removed,
    "F4": merged,
    "E4": multiplied,
    "E5": in_lines,
    "E2": faster,
    "A1": antialiased,
}
KEEPING = tuple(name for name in REWRITINGS if name != "A1")  # those that leave the results as they are
