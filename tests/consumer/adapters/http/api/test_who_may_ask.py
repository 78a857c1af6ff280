"""Tokens, sessions, hosts and origins: who is answered at all."""

import re

import httpx
import pytest

from consumer.adapters.http.api.access import COOKIE, SESSION_SECONDS, Access
from tests.consumer.adapters.http.api.application import TOKENS, bearer, client

CLOSED = Access(TOKENS)


async def signed_in(asked: httpx.AsyncClient, token: str = "bobs-token") -> httpx.Response:
    return await asked.post("/v1/session", json={"token": token})


@pytest.mark.parametrize("path", ["/v1/backtest", "/v1/backtest/7", "/metrics", "/docs", "/openapi.json", "/nowhere"])
async def test_without_a_token_nothing_but_what_is_public_is_answered(path: str) -> None:
    async with client(CLOSED, "backtest.example") as asked:
        answer = await asked.get(path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/runs", "/runs/7/chart", "/assets/none.js", "/healthz", "/readyz"])
async def test_the_page_and_health_need_no_token(path: str) -> None:
    async with client(CLOSED, "backtest.example") as asked:
        assert (await asked.get(path)).status_code != 401


async def test_every_401_has_the_same_body() -> None:
    async with client(CLOSED) as asked:
        answers = [
            await asked.get("/v1/backtest"),
            await asked.get("/v1/backtest", headers=bearer("wrong")),
            await asked.get("/v1/backtest", headers=bearer("alices-toke")),
            await asked.get("/v1/backtest", headers={"Authorization": "Basic YTpi"}),
            await asked.get("/v1/backtest", headers={"Cookie": f"{COOKIE}=alice.99999999999.forged"}),
            await asked.post("/v1/nowhere"),
            await signed_in(asked, "wrong"),
        ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


async def test_a_token_is_taken_and_one_that_is_wrong_is_not_mended_by_a_cookie() -> None:
    async with client(CLOSED) as asked:
        assert (await asked.get("/v1/backtest", headers=bearer("alices-token"))).status_code == 200
        await signed_in(asked)
        assert (await asked.get("/v1/backtest")).status_code == 200
        assert (await asked.get("/v1/backtest", headers=bearer("wrong"))).status_code == 401


async def test_a_session_is_a_cookie_that_scripts_and_other_sites_do_not_get() -> None:
    async with client(Access(TOKENS, "/tools/backtest")) as asked:
        answer = await signed_in(asked)
        behind_tls = await asked.post(
            "/v1/session", json={"token": "bobs-token"}, headers={"X-Forwarded-Proto": "https"}
        )
    assert (answer.status_code, answer.content) == (204, b"")
    cookie = answer.headers["Set-Cookie"]
    assert re.search(r"HttpOnly", cookie)
    assert re.search(r"SameSite=strict", cookie, re.IGNORECASE)
    assert "Path=/tools/backtest" in cookie
    assert f"Max-Age={SESSION_SECONDS}" in cookie
    assert "Secure" not in cookie
    assert "Secure" in behind_tls.headers["Set-Cookie"]
    assert "bobs-token" not in cookie


async def test_a_session_is_good_at_every_process_with_the_same_tokens_and_at_no_other() -> None:
    session = Access(TOKENS).new_session("alice")
    assert Access(dict(reversed(TOKENS.items()))).name_of_session(session) == "alice"
    assert Access({**TOKENS, "alice": "a-new-token"}).name_of_session(session) is None
    assert Access({"bob": "bobs-token"}).name_of_session(session) is None


def test_a_session_ends_after_seven_days_and_cannot_be_made_longer() -> None:
    now = 1_000_000.0
    access = Access(TOKENS, now=lambda: now)
    session = access.new_session("bob")
    name, expires, signature = session.split(".")
    assert Access(TOKENS, now=lambda: now + SESSION_SECONDS - 1).name_of_session(session) == "bob"
    assert Access(TOKENS, now=lambda: now + SESSION_SECONDS).name_of_session(session) is None
    for forged in (
        f"alice.{expires}.{signature}",
        f"{name}.{int(expires) + 1}.{signature}",
        f"{name}.{expires}.{signature[:-1]}x",
        f"{name}.{expires}.",
        "",
        "..",
        f"{name}.{'9' * 4000}.{signature}",
        f"{name}.\u0661.{signature}",
    ):
        assert access.name_of_session(forged) is None


async def test_signing_out_takes_the_cookie_back() -> None:
    async with client(CLOSED) as asked:
        await signed_in(asked)
        answer = await asked.delete("/v1/session")
        assert answer.status_code == 204
        assert (await asked.get("/v1/backtest")).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1:8080", "", "[::2]", "127.0.0.1.nip.io"]
)
async def test_without_tokens_a_host_that_is_not_this_machines_is_misdirected(host: str) -> None:
    async with client() as asked:
        answer = await asked.get("/healthz", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.1.2.3", "[::1]:8080"])
async def test_without_tokens_this_machines_own_names_are_answered(host: str) -> None:
    async with client() as asked:
        assert (await asked.get("/v1/backtest", headers={"Host": host})).status_code == 200


async def test_with_tokens_any_host_is_answered() -> None:
    async with client(CLOSED, "backtest.example") as asked:
        assert (await asked.get("/v1/backtest", headers=bearer("bobs-token"))).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9090", "http://[", "file://"])
async def test_a_page_of_another_origin_changes_nothing(origin: str) -> None:
    async with client() as asked:
        posted = await asked.post("/v1/session", json={"token": "x"}, headers={"Origin": origin})
        deleted = await asked.delete("/v1/backtest/7", headers={"Origin": origin})
        read = await asked.get("/v1/backtest", headers={"Origin": origin})
    assert [(answer.status_code, answer.json()["code"]) for answer in (posted, deleted)] == [
        (403, "foreign_origin")
    ] * 2
    assert read.status_code == 200
    assert "Access-Control-Allow-Origin" not in read.headers


async def test_a_page_of_the_same_origin_may_change_things_also_behind_tls() -> None:
    async with client() as asked:
        for origin in ("http://127.0.0.1:8080", "HTTP://127.0.0.1:8080"):
            answer = await asked.post("/v1/session", json={"token": "x"}, headers={"Origin": origin})
            assert answer.status_code == 204
    async with client(CLOSED, "backtest.example") as asked:
        answer = await asked.post(
            "/v1/session", json={"token": "bobs-token"}, headers={"Origin": "https://backtest.example"}
        )
        assert answer.status_code == 204
