"""Hypothesis without a deadline: the first call of a compiled function may compile it, which takes a second once."""

from hypothesis import settings

settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")
