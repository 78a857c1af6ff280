"""Decisions asked of a language model: who is asked what at which close, and what comes of the answer.

All of it is pure: the model is behind `advisor.Advisor`, which the engine calls and knows nothing of.
"""
