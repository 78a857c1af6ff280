"""Documents of all kinds, made at random of the language's words and of anything: each is refused or computed."""

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.expressions.candles import CANDLES
from engine.expressions.document import FIELDS
from engine.expressions.functions import COLUMNS, FUNCTIONS
from engine.market.timeframes import TIMEFRAMES
from tests.fuzz.rules_judge import judge
from tests.schemas.test_requested import JSON_VALUES

_SIGNS = """
    + - * / % < <= > >= == != and or not ( ) ( ) ( ) [ ] , , 1 2 14 0.5 -1 1e308
"""
WORDS = st.sampled_from([*COLUMNS, "n", "a", "b", *(f"{name}(" for name in FUNCTIONS), *_SIGNS.split()])
CALLS = st.sampled_from([
    *(each.signature.replace(", ...", "") for each in FUNCTIONS.values()), *(f'candle("{name}")' for name in CANDLES),
])  # fmt: skip
ARGUMENTS = {
    "x": "close",
    "c": "close > open",
    "n": "n",
    "m": "2",
    "fast": "2",
    "slow": "5",
    "smooth": "3",
    "signal": "2",
}


def filled(signature: str) -> str:
    """A call of valid arguments, compared where it gives a number."""
    name, _, inner = signature.partition("(")
    given = [
        ARGUMENTS.get(each, '"doji"' if each == '"name"' else each) for each in inner.rstrip(")").split(", ") if each
    ]
    call = f"{name}({', '.join(given)})"
    return call if FUNCTIONS[name].gives == "condition" else f"{call} > 0"


TEXTS = st.one_of(st.lists(WORDS, max_size=14).map(" ".join), CALLS.map(filled), st.text(max_size=20))
INDICATORS = TEXTS | st.fixed_dictionaries({"timeframe": st.sampled_from([*TIMEFRAMES, "H5"]), "value": TEXTS})
DOCUMENTS = st.fixed_dictionaries(
    {"params": st.just({"n": 3}) | JSON_VALUES, "indicators": st.dictionaries(st.sampled_from("ab"), INDICATORS)},
    optional=dict.fromkeys(FIELDS[2:], TEXTS | JSON_VALUES),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS | st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON_VALUES | TEXTS))
@example({"buy": "(" * 65_536})
@example({"buy": "not " * 16_000})
@example({"buy": "1+" * 32_000})
@example({"buy": {"a": [[[[[[[[]]]]]]]]}, "params": {"\0": 1, "\ud800": float("nan")}})
def test_every_document_is_refused_or_computed(document: dict[str, Any]) -> None:
    judge(document)


def test_every_function_is_computed_on_its_own() -> None:
    for function in FUNCTIONS.values():
        text = filled(function.signature.replace(", ...", ""))
        assert judge({"params": {"n": 3}, "buy": text}) == "computed", text
    for name in CANDLES:
        assert judge({"buy": f'candle("{name}") != 0'}) == "computed"
