"""Gram matrices that are convolutions, kernel sums, and distributions on spheres: one subject a file, one line here."""

from faltung.gram.cubature import integrate as integrate
from faltung.gram.density import kde as kde
from faltung.gram.kernels import digital_shift_invariant as digital_shift_invariant
from faltung.gram.kernels import shift_invariant as shift_invariant
from faltung.gram.lattices import lattice as lattice
from faltung.gram.lattices import lattice_vector as lattice_vector
from faltung.gram.matern import matern as matern
from faltung.gram.nets import digital_net as digital_net
from faltung.gram.operator import operator as operator
from faltung.gram.private import private_distance_sum as private_distance_sum
from faltung.gram.process import gp as gp
from faltung.gram.regimes import kde_regime as kde_regime
from faltung.gram.sphere import von_mises_fisher as von_mises_fisher
from faltung.gram.sphere import zonal_spectrum as zonal_spectrum
from faltung.gram.sums import kernel_sum as kernel_sum
