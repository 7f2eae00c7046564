"""How the tests draw: the same examples for everybody in CI, fresh ones elsewhere; no clock decides whether a test passes."""

import os

from hypothesis import HealthCheck, settings

# A first call compiles or maps kernels, so a deadline for one example would fail by the order of the tests; and how long
# examples take to draw is what else the machine does.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
untimed = settings.get_profile("untimed")
settings.register_profile("local", untimed)
settings.register_profile("ci", untimed, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() in ("1", "true", "yes") else "local")

# Plans must not depend on what earlier runs left in the cache: here the compiler's time never counts.
os.environ.setdefault("FALTUNG_COMPILE", "eager")

# Workers that run side by side have a processor each: threads of torch's own would wait for those of the neighbours.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
