"""The sections of the report, in the order of the page: one file a section, one line here."""

from faltung.report.section import Section
from faltung.report.sections.certificate import SECTION as CERTIFICATE
from faltung.report.sections.effective import SECTION as EFFECTIVE
from faltung.report.sections.efficiency import SECTION as EFFICIENCY
from faltung.report.sections.field import SECTION as FIELD
from faltung.report.sections.filters import SECTION as FILTERS
from faltung.report.sections.generator import SECTION as GENERATOR
from faltung.report.sections.identity import SECTION as IDENTITY
from faltung.report.sections.numerics import SECTION as NUMERICS
from faltung.report.sections.representation import SECTION as REPRESENTATION
from faltung.report.sections.sampling import SECTION as SAMPLING
from faltung.report.sections.shifts import SECTION as SHIFTS
from faltung.report.sections.spectrum import SECTION as SPECTRUM
from faltung.report.sections.times import SECTION as TIMES
from faltung.report.sections.values import SECTION as VALUES

ALL: tuple[Section, ...] = (
    IDENTITY,
    FILTERS,
    SPECTRUM,
    CERTIFICATE,
    SAMPLING,
    SHIFTS,
    FIELD,
    EFFECTIVE,
    EFFICIENCY,
    TIMES,
    NUMERICS,
    VALUES,
    GENERATOR,
    REPRESENTATION,
)
