"""The methods: one algorithm a file, one line each here. The order is that of the table which `explain` prints."""

from faltung.errors import ArgumentError
from faltung.methods.adjoint import FILTER_GRADIENT, TRANSPOSED
from faltung.methods.ancestors import ANCESTORS
from faltung.methods.bands_on_gpu import BANDS
from faltung.methods.bits import BITS
from faltung.methods.blocks import BLOCKS
from faltung.methods.definition import DEFINITION
from faltung.methods.direct import DIRECT
from faltung.methods.envelope import ENVELOPE
from faltung.methods.fft import FFT_
from faltung.methods.indirect import INDIRECT
from faltung.methods.karatsuba import KARATSUBA
from faltung.methods.limbs import LIMBS
from faltung.methods.log_sums import LOG_SUMS
from faltung.methods.long_on_gpu import LONG, LONG_HALF
from faltung.methods.method import Context, Machine, Method
from faltung.methods.monarch import MONARCH
from faltung.methods.monotone import MONOTONE
from faltung.methods.negacyclic import NEGACYCLIC
from faltung.methods.ntt import NTT_
from faltung.methods.onednn import ONEDNN
from faltung.methods.overlap import OVERLAP
from faltung.methods.partitions import PARTITIONS
from faltung.methods.passes import PASSES, WINDOW
from faltung.methods.pointwise import POINTWISE
from faltung.methods.prefix import PREFIX
from faltung.methods.running import RUNNING
from faltung.methods.scatter import SCATTER
from faltung.methods.segments import SEGMENTS
from faltung.methods.selection import SELECTION
from faltung.methods.separable import SEPARABLE
from faltung.methods.sum_passes import SUM_PASSES
from faltung.methods.walsh import WALSH
from faltung.methods.windows_on_gpu import WINDOWS
from faltung.methods.winograd import WINOGRAD
from faltung.methods.zeta import ZETA

ALL: tuple[Method, ...] = (
    DEFINITION,
    DIRECT,
    BLOCKS,
    INDIRECT,
    POINTWISE,
    PASSES,
    SEPARABLE,
    WINDOW,
    RUNNING,
    ENVELOPE,
    WINOGRAD,
    FFT_,
    OVERLAP,
    SEGMENTS,
    PARTITIONS,
    NEGACYCLIC,
    MONARCH,
    LIMBS,
    NTT_,
    KARATSUBA,
    ONEDNN,
    SCATTER,
    PREFIX,
    ANCESTORS,
    WALSH,
    ZETA,
    TRANSPOSED,
    FILTER_GRADIENT,
    SELECTION,
    LOG_SUMS,
    BITS,
    MONOTONE,
    SUM_PASSES,
    LONG,
    LONG_HALF,
    BANDS,
    WINDOWS,
)
BY_NAME = {method.name: method for method in ALL}


def named(name: str) -> Method:
    """The method of that name; raises ArgumentError with the list of names."""
    try:
        return BY_NAME[name]
    except (KeyError, TypeError):
        raise ArgumentError.of(
            "Policy", f"methods among {', '.join(BY_NAME)}", repr(name), "choose a name from the list"
        ) from None


__all__ = ["ALL", "BY_NAME", "Context", "Machine", "Method", "named"]
