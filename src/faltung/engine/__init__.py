"""Operations around convolution: transforms, powers and stars, liftings, checks. One file each, one line here."""

from faltung.engine import series as series
from faltung.engine.best import best as best
from faltung.engine.closure import closure as closure
from faltung.engine.fft_conv import fft_conv as fft_conv
from faltung.engine.lift import lift as lift
from faltung.engine.matmul import matmul as matmul
from faltung.engine.power import power as power
from faltung.engine.slabs import convolve_slabs as convolve_slabs
from faltung.engine.sparse import convolve_sparse as convolve_sparse
from faltung.engine.star import star as star
from faltung.engine.stream import stream as stream
from faltung.engine.verify import verify as verify
from faltung.engine.walsh import fwht as fwht
from faltung.engine.walsh import zeta as zeta
