"""The one version of all four distributions; `scripts/version.py` moves it."""

__version__ = "1.0.0"
