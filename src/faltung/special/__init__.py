"""Special functions that other packages lack or that overflow there: one family a file, one line here."""

from faltung.special.log_bessel import bessel_ratio as bessel_ratio
from faltung.special.log_bessel import log_iv as log_iv
from faltung.special.log_bessel import log_kv as log_kv
