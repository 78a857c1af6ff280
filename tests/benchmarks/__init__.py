"""Measurements, as ratios to other programs inside one run. Not tests: nothing here asserts a time."""
