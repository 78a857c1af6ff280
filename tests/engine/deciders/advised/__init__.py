"""Tests of runs in which a language model has a say."""
