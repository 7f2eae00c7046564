"""Cayley graphs and functions on groups: growth, spectra, Fourier transforms, and what networks learn of group arithmetic."""

from faltung.cayley.cubes import colours as colours
from faltung.cayley.families import FAMILIES as FAMILIES
from faltung.cayley.families import generator_set as generator_set
from faltung.cayley.families import names as names
from faltung.cayley.features import climb as climb
from faltung.cayley.features import feature_energy as feature_energy
from faltung.cayley.features import feature_gradient as feature_gradient
from faltung.cayley.features import group_arithmetic as group_arithmetic
from faltung.cayley.features import group_spectrum as group_spectrum
from faltung.cayley.fourier import energies as energies
from faltung.cayley.fourier import group_fourier as group_fourier
from faltung.cayley.fourier import group_inverse as group_inverse
from faltung.cayley.generators import Generators as Generators
from faltung.cayley.generators import matrices as matrices
from faltung.cayley.generators import permutations as permutations
from faltung.cayley.growth import Growth as Growth
from faltung.cayley.growth import growth as growth
from faltung.cayley.growth import plan_growth as plan_growth
from faltung.cayley.irreducibles import irreducibles as irreducibles
from faltung.cayley.matrix_families import matrix_family as matrix_family
from faltung.cayley.partitions import character as character
from faltung.cayley.partitions import partitions as partitions
from faltung.cayley.spectrum import spectrum as spectrum
from faltung.cayley.young import young_convolve as young_convolve
from faltung.cayley.young import young_fourier as young_fourier
from faltung.cayley.young import young_inverse as young_inverse
