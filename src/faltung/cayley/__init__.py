"""Cayley graphs and functions on groups: growth, spectra, Fourier transforms, and what networks learn of group arithmetic."""

from faltung.cayley.cubes import colours as colours
from faltung.cayley.families import FAMILIES as FAMILIES
from faltung.cayley.families import generator_set as generator_set
from faltung.cayley.families import names as names
from faltung.cayley.generators import Generators as Generators
from faltung.cayley.generators import matrices as matrices
from faltung.cayley.generators import permutations as permutations
from faltung.cayley.growth import Growth as Growth
from faltung.cayley.growth import growth as growth
from faltung.cayley.growth import plan_growth as plan_growth
from faltung.cayley.matrix_families import matrix_family as matrix_family
