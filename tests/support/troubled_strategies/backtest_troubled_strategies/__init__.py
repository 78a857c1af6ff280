"""Strategies whose import or whose Params go wrong, a module each."""
