"""The packaged registry says what brokers' usual contracts say, and a user's file is refused by line and key."""

import re

import pytest

from engine.errors import BadInstruments, UnknownSymbol
from engine.market.instruments import Instrument, instrument_for, packaged_instruments, parse_instruments, share

WHOLE = {
    "base": '"EUR"',
    "quote": '"USD"',
    "pip": "0.0001",
    "contract": "100000",
    "digits": "5",
    "session": '"fx"',
}


def toml(symbol: str = "EURUSD", leave_out: str | None = None, **values: str) -> str:
    lines = [f"{key} = {value}" for key, value in {**WHOLE, **values}.items() if key != leave_out]
    return "\n".join([f"[{symbol}]", *lines])


def refusal(text: str) -> str:
    with pytest.raises(BadInstruments) as refused:
        parse_instruments(text, "my.toml")
    return str(refused.value)


@pytest.mark.parametrize(
    ("symbol", "base", "quote", "pip", "contract", "digits", "session"),
    [
        ("EURUSD", "EUR", "USD", 0.0001, 100_000.0, 5, "fx"),
        ("USDJPY", "USD", "JPY", 0.01, 100_000.0, 3, "fx"),
        ("EURGBP", "EUR", "GBP", 0.0001, 100_000.0, 5, "fx"),
        ("XAUUSD", "XAU", "USD", 0.1, 100.0, 2, "fx"),
        ("XAGUSD", "XAG", "USD", 0.01, 5_000.0, 3, "fx"),
        ("US500", "US500", "USD", 1.0, 1.0, 2, "fx"),
        ("GER40", "GER40", "EUR", 1.0, 1.0, 2, "fx"),
        ("UK100", "UK100", "GBP", 1.0, 1.0, 2, "fx"),
        ("JP225", "JP225", "JPY", 1.0, 1.0, 2, "fx"),
        ("BTCUSD", "BTC", "USD", 1.0, 1.0, 2, "always"),
        ("ETHUSD", "ETH", "USD", 1.0, 1.0, 2, "always"),
    ],
)
def test_packaged_instruments_have_the_values_of_the_rules(
    symbol: str, base: str, quote: str, pip: float, contract: float, digits: int, session: str
) -> None:
    instrument = packaged_instruments()[symbol]
    assert (instrument.symbol, instrument.base, instrument.quote) == (symbol, base, quote)
    assert (instrument.pip, instrument.contract, instrument.digits, instrument.session) == (
        pip,
        contract,
        digits,
        session,
    )
    assert (instrument.lot_step, instrument.swap_long, instrument.swap_short) == (0.01, 0.0, 0.0)


def test_all_pairs_of_the_eight_majors_are_packaged_once() -> None:
    majors = ("EUR", "GBP", "AUD", "NZD", "USD", "CAD", "CHF", "JPY")
    pairs = [(i.base, i.quote) for i in packaged_instruments().values() if i.base in majors and i.quote in majors]
    assert len(pairs) == len(set(pairs)) == len({frozenset(pair) for pair in pairs}) == 28


def test_point_and_points_per_pip_are_free_of_binary_noise() -> None:
    registry = packaged_instruments()
    assert registry["EURUSD"].point == 0.00001
    assert [registry[symbol].points_per_pip for symbol in ("EURUSD", "USDJPY", "XAUUSD", "BTCUSD")] == [10, 10, 10, 100]


def test_an_unknown_symbol_is_refused_by_name() -> None:
    assert instrument_for("EURUSD", packaged_instruments()).symbol == "EURUSD"
    with pytest.raises(UnknownSymbol, match="unknown symbol 'EURUSX'"):
        instrument_for("EURUSX", packaged_instruments())


def test_a_symbol_is_found_in_any_case_and_bears_its_own_spelling() -> None:
    assert instrument_for("eurusd", packaged_instruments()).symbol == "EURUSD"
    both = parse_instruments(toml("abc1") + "\n" + toml("ABC1"), "my.toml")
    assert instrument_for("abc1", both).symbol == "abc1"
    with pytest.raises(UnknownSymbol, match=r"unknown symbol 'Abc1' \(did you mean "):
        instrument_for("Abc1", both)


def test_a_mistyped_symbol_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(UnknownSymbol, match=r"'eurusx' \(did you mean EURUSD"):
        instrument_for("eurusx", packaged_instruments())
    with pytest.raises(UnknownSymbol, match=r"^unknown symbol 'QQQQQQQQ': add it to an instruments file$"):
        instrument_for("QQQQQQQQ", packaged_instruments())


@pytest.mark.parametrize(
    ("symbol", "base", "quote", "pip", "digits"),
    [
        ("BTCUSDT", "BTC", "USDT", 0.1, 2),
        ("XRPUSDT", "XRP", "USDT", 0.001, 4),
        ("DOGEEUR", "DOGE", "EUR", 0.0001, 5),
        ("SHIBUSDT", "SHIB", "USDT", 1e-7, 8),
        ("ADAUSD", "ADA", "USD", 0.001, 4),
    ],
)
def test_coins_have_a_pip_of_one_unit_of_the_last_but_one_of_their_digits(
    symbol: str, base: str, quote: str, pip: float, digits: int
) -> None:
    coin = packaged_instruments()[symbol]
    assert coin == Instrument(symbol, base, quote, pip, 1.0, digits, "always")
    assert coin.points_per_pip == 10


def test_twenty_coins_are_packaged_in_three_currencies() -> None:
    registry = packaged_instruments()
    coins = {each.base for each in registry.values() if each.quote == "USDT"}
    assert len(coins) == 20
    assert all(coin + quote in registry for coin in coins for quote in ("USD", "USDT", "EUR"))


def test_a_share_is_traded_by_the_piece_on_weekdays() -> None:
    assert share("BRK.B", "USD") == Instrument("BRK.B", "BRKB", "USD", 0.01, 1.0, 2, "weekdays", lot_step=1.0)
    with pytest.raises(UnknownSymbol, match="cannot be a symbol"):
        share("../BRK", "USD")
    with pytest.raises(BadInstruments, match="quote: must be"):
        share("BRK.B", "usd")


def test_a_file_adds_and_replaces_whole_and_leaves_the_packaged_registry_alone() -> None:
    text = toml(swap_long="-6.5") + "\n" + toml('"EURUSD.r"', session='"always"', lot_step="0.1", swap_short="2")
    registry = parse_instruments(text, "my.toml")
    assert registry["EURUSD"] == Instrument("EURUSD", "EUR", "USD", 0.0001, 100_000.0, 5, "fx", swap_long=-6.5)
    assert registry["EURUSD.r"] == Instrument("EURUSD.r", "EUR", "USD", 0.0001, 100_000.0, 5, "always", 0.1, 0.0, 2.0)
    assert registry["GBPUSD"] is packaged_instruments()["GBPUSD"]
    assert packaged_instruments()["EURUSD"].swap_long == 0.0
    assert list(parse_instruments(toml(), "my.toml", onto={})) == ["EURUSD"]
    assert parse_instruments("", "my.toml") == packaged_instruments()


@pytest.mark.parametrize("key", list(WHOLE))
def test_a_missing_key_is_named_at_its_table(key: str) -> None:
    text = "# mine\n\n" + toml("X1", leave_out=key)
    assert refusal(text) == f"my.toml: line 3: [X1] {key}: is missing"


KEYS = "base, quote, pip, contract, digits, session"


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("base", '""', "must be 1 to 12 upper-case letters or digits, not ''"),
        ("quote", '"usd"', "must be 2 to 12 upper-case letters or digits, not 'usd'"),
        ("quote", "1", "must be 2 to 12 upper-case letters or digits, not 1"),
        ("pip", "0", "must be a number above 0, not 0"),
        ("pip", "nan", "must be a number above 0, not nan"),
        ("pip", '"0.0001"', "must be a number above 0, not '0.0001'"),
        ("pip", "0.000001", "is smaller than a point, which 5 digits make"),
        ("contract", "-1", "must be a number above 0, not -1"),
        ("contract", "inf", "must be a number above 0, not inf"),
        ("contract", "true", "must be a number above 0, not True"),
        ("digits", "5.0", "must be a whole number from 0 to 12, not 5.0"),
        ("digits", "-1", "must be a whole number from 0 to 12, not -1"),
        ("digits", "false", "must be a whole number from 0 to 12, not False"),
        ("session", '"24/7"', 'must be "fx", "always" or "weekdays", not \'24/7\''),
        ("session", "[]", 'must be "fx", "always" or "weekdays", not []'),
        ("lot_step", "0.0", "must be a number above 0, not 0.0"),
        ("swap_long", "nan", "must be a number, not nan"),
        *(
            ("day_start", wrong, f"must be HH:MM and a time zone, as 17:00 America/New_York, not {shown}")
            for wrong, shown in (
                ('"17:00"', "'17:00'"),
                ('"24:00 UTC"', "'24:00 UTC'"),
                ('"17:00 Mars/Phobos"', "'17:00 Mars/Phobos'"),
                ("17", "17"),
            )
        ),
        ("swap_short", '"low"', "must be a number, not 'low'"),
        (
            "spread",
            "1",
            f"unknown key; known are {KEYS}, lot_step, swap_long, swap_short, day_start",
        ),
    ],
)
def test_a_wrong_value_is_named_with_line_and_key(key: str, value: str, what: str) -> None:
    text = toml("GOOD") + "\n" + toml("X1", **{key: value})
    line = 1 + next(i for i, row in enumerate(text.splitlines()) if i > 6 and re.match(f"{key} ", row))
    assert refusal(text) == f"my.toml: line {line}: [X1] {key}: {what}"


def test_a_symbol_twice_and_broken_toml_are_named_with_their_line() -> None:
    assert re.fullmatch(r"my\.toml: line 8: Cannot declare .*EURUSD.* twice", refusal(toml() + "\n" + toml()))
    assert refusal(toml() + '\nbase = "EUR"') == "my.toml: line 8: Cannot overwrite a value"
    assert refusal("[EURUSD\n").startswith("my.toml: line 1: Expected")
    assert refusal('[X1]\nbase = "').startswith("my.toml: ")


def test_what_is_no_table_or_no_symbol_is_refused() -> None:
    assert refusal("pip = 1") == "my.toml: line 1: [pip]: must be a table of that symbol's keys"
    assert (
        refusal("\n" + toml('"EUR USD"')) == "my.toml: line 2: [EUR USD]: a symbol is 1 to 20 letters, digits and ._-#,"
        " the first a letter or a digit"
    )
    assert "symbol is 1 to 20" in refusal(toml("A" * 21))
    assert refusal("[X1]\nY = {}").startswith("my.toml: line 2: [X1] Y: unknown key")


def test_lines_are_found_in_inline_and_dotted_tables_too() -> None:
    assert refusal('\nX1.pip = 0\nX1.base = "EUR"') == "my.toml: line 2: [X1] pip: must be a number above 0, not 0"
    assert refusal("\n\nX1 = { pip = 0 }") == "my.toml: line 3: [X1] pip: must be a number above 0, not 0"
