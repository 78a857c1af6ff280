"""Market data over HTTP: what is stored, files that come in whole or not at all, removal, and tricks that fail."""

import gzip
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from consumer.adapters.files.market_data_store import MarketDataStore
from consumer.adapters.files.run_tables import RunTableFiles
from engine.numeric.csv_rows import csv_rows
from tests.consumer.adapters.http.apis import KnownRuns, client_of
from tests.engine.run_builders import sample

BARS = sample("eurusd_h1", 400).frame
LIMIT = 200_000
URL = "/v1/market-data/EURUSD/H1"


def csv_of(frame: Any = BARS) -> bytes:
    columns = ["time", "open", "high", "low", "close", "volume"]
    return f"{','.join(columns)}\n".encode() + csv_rows(frame.select(columns), "iso")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    store = MarketDataStore(str(tmp_path / "market"), LIMIT)
    tables = RunTableFiles(str(tmp_path))
    async with client_of(KnownRuns({}), tables, stored_bars=store, max_body_bytes=LIMIT) as client:
        client.timeout = httpx.Timeout(60)
        yield client


def stored_files(tmp_path: Path) -> list[str]:
    return sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*.parquet"))


async def test_a_file_is_stored_told_of_listed_and_removed(api: httpx.AsyncClient) -> None:
    made = await api.post(URL, content=csv_of())
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["symbol"], told["timeframe"], told["bars"]) == ("EURUSD", "H1", 400)
    assert told["first"] == BARS["time"][0].isoformat().replace("+00:00", "Z")
    assert told["passport"]["count"] == 400
    assert (told["added"], told["format"]) == (400, "own")
    assert isinstance(told["notes"], list)
    assert made.headers["location"] == URL
    found = (await api.get("/v1/market-data/eurusd/H1")).json()
    assert {name: told[name] for name in found} == found
    assert (await api.get("/v1/market-data")).json() == {"items": [found], "next_cursor": None}
    again = await api.post(URL, content=csv_of())
    assert (again.status_code, again.json()["added"]) == (201, 0)
    assert (await api.delete(URL)).status_code == 204
    assert (await api.delete(URL)).status_code == 404
    assert (await api.get(URL)).status_code == 404


async def test_a_form_with_a_file_is_the_same(api: httpx.AsyncClient) -> None:
    made = await api.post(
        f"{URL}?timezone=America/New_York%2B7", files={"file": ("eurusd.csv.gz", gzip.compress(csv_of()))}
    )
    assert (made.status_code, made.json()["bars"]) == (201, 400)


async def test_parquet_and_lists_in_parts(api: httpx.AsyncClient, tmp_path: Path) -> None:
    content = BytesIO()
    BARS.write_parquet(content)
    for symbol in ("AUDUSD", "GBPUSD"):
        own = tmp_path / "market" / symbol / "H1" / "2015.parquet"
        own.parent.mkdir(parents=True)
        own.write_bytes(content.getvalue())
    assert (await api.post(URL, content=content.getvalue())).status_code == 201
    first = (await api.get("/v1/market-data?limit=2")).json()
    rest = (await api.get(f"/v1/market-data?limit=2&cursor={first['next_cursor']}")).json()
    assert [each["symbol"] for each in first["items"] + rest["items"]] == ["AUDUSD", "EURUSD", "GBPUSD"]
    assert rest["next_cursor"] is None


async def test_a_bad_row_is_named_and_nothing_is_stored(api: httpx.AsyncClient, tmp_path: Path) -> None:
    lines = csv_of().splitlines()
    lines[7] = lines[6]
    response = await api.post(URL, files={"file": ("mine.csv", b"\n".join(lines))})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "bad_bars")
    assert (problem["file"], problem["row"]) == ("mine.csv", 7)
    assert problem["details"][0]["message"].startswith("mine.csv: row 7 (time ")
    assert stored_files(tmp_path) == []


async def test_other_prices_of_the_same_times_show_both_sides(api: httpx.AsyncClient) -> None:
    await api.post(URL, content=csv_of())
    other = BARS.with_columns(high=BARS["high"] + 0.5)
    response = await api.post(URL, content=csv_of(other))
    problem = response.json()
    assert (response.status_code, problem["code"]) == (409, "differs")
    assert "400 bars of EURUSD H1" in problem["stored"]
    assert "400 bars from" in problem["new"]
    replaced = await api.post(f"{URL}?replace=true", content=csv_of(other))
    assert (replaced.status_code, replaced.json()["removed"]) == (201, 400)
    assert any("400 bars were stored" in note for note in replaced.json()["notes"])


async def test_another_zone_of_stored_months_is_a_difference(api: httpx.AsyncClient) -> None:
    local = BARS.with_columns(BARS["time"].dt.replace_time_zone(None))
    content = BytesIO()
    local.write_parquet(content)
    assert (await api.post(f"{URL}?timezone=UTC", content=content.getvalue())).status_code == 201
    response = await api.post(f"{URL}?timezone=Europe/Athens", content=content.getvalue())
    assert (response.status_code, response.json()["code"]) == (409, "differs")


@pytest.mark.parametrize("damage", ["cut", "zeros", "footer"])
async def test_a_damaged_parquet_is_a_bad_file_and_ends_nothing(
    api: httpx.AsyncClient, tmp_path: Path, damage: str
) -> None:
    content = BytesIO()
    BARS.write_parquet(content)
    whole = content.getvalue()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "zeros": whole[:100] + bytes(len(whole) - 108) + whole[-8:],
        "footer": whole[:-60] + bytes(each ^ 0x55 for each in whole[-60:-8]) + whole[-8:],
    }[damage]
    response = await api.post(URL, content=damaged)
    assert (response.status_code, response.json()["code"]) == (422, "bad_bars")
    assert stored_files(tmp_path) == []


async def test_what_is_too_large_or_unpacks_too_far_is_refused(api: httpx.AsyncClient, tmp_path: Path) -> None:
    assert (await api.post(URL, content=b"x" * (LIMIT + 1))).status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 50_000

    assert (await api.post(URL, content=endless())).status_code == 413
    assert (await api.post(URL, files={"file": ("a.csv", b"x" * (LIMIT + 1))})).status_code == 413
    bomb = gzip.compress(csv_of() + b"0" * (20 * LIMIT))
    assert len(bomb) < LIMIT
    response = await api.post(URL, content=bomb)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    rows = BytesIO()
    BARS.head(1).select("open").sample(700_000, with_replacement=True).write_parquet(rows)
    assert len(rows.getvalue()) < LIMIT
    assert (await api.post(URL, content=rows.getvalue())).status_code == 413
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/market-data/..%2Fx/H1", None),
        ("/v1/market-data/.hidden/H1", "symbol"),
        ("/v1/market-data/EUR%20USD/H1", "symbol"),
        ("/v1/market-data/A%00B/H1", "symbol"),
        (f"/v1/market-data/{'A' * 21}/H1", "symbol"),
        ("/v1/market-data/EURUSD/H7", "timeframe"),
        ("/v1/market-data/EURUSD/H1?timezone=Mars", "timezone"),
        ("/v1/market-data/EURUSD/H1?format=lotus", "format"),
        ("/v1/market-data/EURUSD/H1?date_order=xyz", "date_order"),
        ("/v1/market-data/EURUSD/H1?colour=red", "colour"),
        ("/v1/market-data/ZZZ/H1?instrument_class=stock&quote=_", "quote"),
    ],
)
async def test_wrong_names_are_refused_before_the_file(
    api: httpx.AsyncClient, tmp_path: Path, path: str, field: str | None
) -> None:
    response = await api.post(path, content=csv_of())
    if field is None:
        assert response.status_code == 404
    else:
        assert response.status_code == 422, response.text
        assert [each["field"] for each in response.json()["details"]] == [field]
    assert stored_files(tmp_path) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b.csv", "a\\b.csv", "x" * 255 + ".csv"])
async def test_a_file_name_that_is_a_path_is_refused(api: httpx.AsyncClient, name: str) -> None:
    response = await api.post(URL, files={"file": (name, csv_of())})
    assert response.status_code == 422
    assert response.json()["details"][0]["field"] == "file"


async def test_a_form_that_is_none_or_holds_no_file(api: httpx.AsyncClient) -> None:
    broken = await api.post(URL, content=b"zzz", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert broken.status_code in (400, 422)
    nameless = await api.post(URL, content=b"zzz", headers={"Content-Type": "multipart/form-data"})
    assert nameless.status_code == 400
    other = await api.post(URL, files={"bars": ("a.csv", csv_of())})
    assert other.status_code == 422
    assert (await api.post(URL, content=b"")).status_code == 422


async def test_an_unknown_symbol_is_stored_with_a_note(api: httpx.AsyncClient) -> None:
    made = await api.post("/v1/market-data/ZZZ9/H1", content=csv_of())
    assert made.status_code == 201
    assert any("no known instrument" in note for note in made.json()["notes"])
    assert made.json()["passport"] is None
    share = await api.post("/v1/market-data/ACME/H1?instrument_class=stock", content=csv_of())
    assert share.json()["passport"] is not None


async def test_bars_of_another_length_are_bad(api: httpx.AsyncClient) -> None:
    response = await api.post("/v1/market-data/EURUSD/D1", content=csv_of())
    assert (response.status_code, response.json()["code"]) == (422, "bad_bars")
