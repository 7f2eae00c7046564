"""The version, in one place: the package shows it, caches and profiles are filed under it."""

__version__ = "0.1.0"
