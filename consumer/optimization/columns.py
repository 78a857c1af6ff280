"""The names of the columns of a search's results file; apart because who reads one needs no engine."""

from typing import Final

from engine.search.figure_names import FIGURES

FOLD, ERROR = "fold", "error"
_TAKEN: Final = frozenset({*FIGURES, FOLD, ERROR})


def parameter_column(name: str) -> str:
    """Return what a parameter's column is called: a name of another column is set apart."""
    return f"param_{name}" if name in _TAKEN else name
