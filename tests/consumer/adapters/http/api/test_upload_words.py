"""Whoever sends a file over HTTP is told names of the query, not options of the command line alone."""

import pytest

from consumer.adapters.files.bar_import import unknown_note
from consumer.adapters.http.api.upload_words import in_words_of_the_api
from engine.market.instruments import packaged_instruments


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "fits: --bars-timezone America/New_York+7",
            "fits: timezone=America/New_York%2B7 (--bars-timezone America/New_York+7)",
        ),
        ("--bars-timezone says which", "timezone (--bars-timezone) says which"),
        ("--replace removes what is stored", "replace=true (--replace) removes what is stored"),
        (
            "leave --format out, or --format mt4",
            "leave format (--format) out, or format=mt4 (--format mt4)",
        ),
        ("import them with --timeframe M15", "import them with M15 as the path's timeframe (--timeframe M15)"),
        (
            "--date-order dmy or --date-order mdy",
            "date_order=dmy (--date-order dmy) or date_order=mdy (--date-order mdy)",
        ),
        ("there is no header line -- at all", "there is no header line -- at all"),
    ],
)
def test_options_of_the_command_line_have_the_querys_name_beside_them(said: str, told: str) -> None:
    assert in_words_of_the_api(said) == told


def test_a_symbol_that_nobody_knows_is_told_how_to_be_known() -> None:
    told = in_words_of_the_api(unknown_note("EURUSDX", packaged_instruments()))
    assert "did you mean EURUSD" in told
    assert "in no instruments list" in told
    assert "POST /v1/instruments" in told
