"""The sections of the report, in the order of the page: one file a section, one line here."""

from faltung.report.section import Section
from faltung.report.sections.certificate import SECTION as CERTIFICATE
from faltung.report.sections.efficiency import SECTION as EFFICIENCY
from faltung.report.sections.field import SECTION as FIELD
from faltung.report.sections.filters import SECTION as FILTERS
from faltung.report.sections.identity import SECTION as IDENTITY
from faltung.report.sections.numerics import SECTION as NUMERICS
from faltung.report.sections.sampling import SECTION as SAMPLING
from faltung.report.sections.spectrum import SECTION as SPECTRUM

ALL: tuple[Section, ...] = (
    IDENTITY,
    FILTERS,
    SPECTRUM,
    CERTIFICATE,
    SAMPLING,
    FIELD,
    EFFICIENCY,
    NUMERICS,
)
