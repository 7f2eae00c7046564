"""`python -m faltung.cli` is `faltung`."""

import sys

from faltung.cli import main

sys.exit(main())
