"""This library's layer in the place of torch's, where its plan is faster."""

from typing import TYPE_CHECKING, Any

from faltung.report.rewritings.place import free, named, sentence

if TYPE_CHECKING:
    from faltung.report.report import Report


def faster(model: Any, report: "Report") -> tuple[Any, str]:
    """The layers that were measured to be faster by plan become this library's, with the same numbers (`faltung.swap`)."""
    from faltung.readers import read
    from faltung.tools import swap

    names, left = named(report, "E2"), {}
    network = read(model, report.example)
    layers = free(model, network)
    chosen: dict[str, list[str]] = {}
    for name in names:
        if name not in layers or network[name].op != "conv":
            left[name] = "no plain layer"
            continue
        kind = "ConvTranspose" if network[name].transposed else "Conv"
        chosen.setdefault(f"{kind}{network[name].ndim}d", []).append(name)
    done = 0
    for kind, some in chosen.items():
        done += len(swap(model, kind, where=some, copy=False))
    return model, sentence(done, len(names), "layers planned by this library", left)
