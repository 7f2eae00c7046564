"""Low-passes behind strides."""

from typing import TYPE_CHECKING, Any

from faltung.report.rewritings.place import inputs_of, named, noise_like

if TYPE_CHECKING:
    from faltung.report.report import Report


def antialiased(model: Any, report: "Report") -> tuple[Any, str]:
    """A low-pass behind the strides that were found. The results change, which is what it is for."""
    from faltung.tools import antialias

    found = {layer.partition(":")[0]: "blur" for layer in named(report, "A1")}
    made = antialias(model, noise_like(inputs_of(report)), found)
    before, after = made.before.mean, made.after.mean
    return (
        made.model,
        f"{len(made.rows)} strides behind a low-pass: error under shifts {before:.2g} before, {after:.2g} after",
    )
