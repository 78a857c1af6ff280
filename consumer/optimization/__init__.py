"""Searches of parameters: what is computed where, and what is kept of it. engine.search says what a search is."""
