"""Operations around convolution: transforms, powers and stars, liftings, checks. One file each, one line here."""

from faltung.engine import series as series
from faltung.engine.lift import lift as lift
from faltung.engine.power import power as power
from faltung.engine.star import star as star
from faltung.engine.verify import verify as verify
from faltung.engine.walsh import fwht as fwht
from faltung.engine.walsh import zeta as zeta
