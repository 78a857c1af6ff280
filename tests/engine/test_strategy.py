"""What a strategy's parameters say of names that they do not have."""

import pytest

from engine.errors import InvalidParams
from engine.strategies.rsi_reversion import RsiReversion
from engine.strategy import checked_params


def test_a_mistyped_parameter_is_told_the_nearest_and_all_there_are() -> None:
    with pytest.raises(InvalidParams) as caught:
        checked_params(RsiReversion, "rsi_reversion", {"lo": 25})
    (problem,) = caught.value.problems
    assert problem.field == "lo"
    assert problem.message.startswith("is no parameter of it; did you mean 'low'? It has ")
    assert set(RsiReversion.Params.model_fields) <= set(problem.message.partition("It has ")[2].split(", "))


def test_a_parameter_like_no_other_is_told_which_there_are() -> None:
    with pytest.raises(InvalidParams, match=r"zzz: is no parameter of it\. It has "):
        checked_params(RsiReversion, "rsi_reversion", {"zzz": 25})
