"""Fixtures for tests that train; the parts are in small_trainings.py."""

from small_trainings import quiet, small

__all__ = ["quiet", "small"]
