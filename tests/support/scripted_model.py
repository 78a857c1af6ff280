"""A server that speaks OpenAI's chat completions and does what a script says: right, slow, wrong, or away.

Beside tests it is a small program for anybody without a model: `python -m tests.support.scripted_model --port 8123`
says HOLD, or what --answer says, to every request, and prints each.
"""

import argparse
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from typing import Any, Final, Self

HOLD: Final = {"action": "HOLD", "confidence": 0.5, "reason": "nothing to do"}


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    number: int
    """From 1, in the order of arrival."""
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """Everything that was said, in one text."""
        return "\n".join(str(message.get("content")) for message in self.body.get("messages", []))


@dataclass(frozen=True, slots=True)
class Says:
    """What the server does with one request."""

    content: str | dict[str, Any] | None = None
    """The model's answer; an object is sent as JSON."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: threading.Event | None = None
    """Nothing is said before it is set."""
    raw: bytes | None = None
    """The whole body, in place of a completion."""
    cuts: bool = False
    """The connection is closed in place of an answer."""
    input_tokens: int = 100
    output_tokens: int = 10


Script = Callable[[Received], Says]


def says(content: str | dict[str, Any] = HOLD) -> Script:
    return lambda _: Says(content)


class ScriptedModel:
    """Listens on 127.0.0.1 while it is entered. `script` may be replaced at any time; `received` is all that came."""

    def __init__(self, script: Script | None = None, port: int = 0) -> None:
        self.script = script or says()
        self.received: list[Received] = []
        self._lock = threading.Lock()
        self._let_go = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's own name
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def calls(self) -> int:
        with self._lock:
            return len(self.received)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Note a request, and do what the script says."""
        length = int(request.headers.get("content-length") or 0)
        body = json.loads(request.rfile.read(length) or b"{}")
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            received = Received(len(self.received) + 1, request.path, headers, body)
            self.received.append(received)
        said = self.script(received)
        if said.after is not None:
            while not said.after.wait(0.02) and not self._let_go.is_set():
                pass
        with suppress(OSError):
            self._say(request, said, body.get("model"))

    def _say(self, request: BaseHTTPRequestHandler, said: Says, model: Any) -> None:
        if said.cuts:
            request.close_connection = True
            request.connection.shutdown(SHUT_RDWR)
            return
        body = said.raw if said.raw is not None else json.dumps(self._body(said, model)).encode()
        request.send_response(said.status)
        for name, value in {"Content-Type": "application/json", **said.headers}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _body(self, said: Says, model: Any) -> dict[str, Any]:
        content = json.dumps(said.content) if isinstance(said.content, dict) else said.content
        if said.status != 200:
            return {"error": {"message": content or f"status {said.status}", "type": "scripted", "code": None}}
        return {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": model,
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content or ""}}
            ],
            "usage": {
                "prompt_tokens": said.input_tokens,
                "completion_tokens": said.output_tokens,
                "total_tokens": said.input_tokens + said.output_tokens,
            },
        }


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for a language model: one answer to every request.")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--answer", default=json.dumps(HOLD), help="what the model says")
    given = parser.parse_args()

    def script(received: Received) -> Says:
        print(f"{received.number}: {len(received.prompt)} characters of {received.body.get('model')}", flush=True)
        return Says(given.answer)

    with ScriptedModel(script, given.port) as server:
        print(f"BACKTEST_LLM_MODEL=openai:scripted BACKTEST_LLM_BASE_URL={server.url}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
