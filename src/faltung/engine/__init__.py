"""Operations around convolution: transforms, powers and stars, liftings, checks. One file each, one line here."""

from faltung.engine.verify import verify as verify
from faltung.engine.walsh import fwht as fwht
from faltung.engine.walsh import zeta as zeta
