"""Print the plan that docs/walk.md shows, with the shipped machine profile: `python docs/make_walk.py` and paste."""

import os
import tempfile

os.environ["FALTUNG_CACHE_DIR"] = tempfile.mkdtemp()  # without a tuned profile, so that everyone sees the same figures

os.environ["FALTUNG_COMPILE"] = "eager"  # nor with the time of a compiler that has run on this machine or has not

import faltung

print(
    faltung.explain(
        faltung.Spec((2048, 2048), "float32"), faltung.Spec((31, 31), "float32"), mode="same", boundary="reflect"
    )
)
