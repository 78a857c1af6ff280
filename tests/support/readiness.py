"""What a worker says of itself over HTTP."""

import asyncio
import urllib.error
import urllib.request

from tests.support.waiting import eventually


async def ready(port: int, *, told: str = "", seconds: float = 30.0) -> str:
    """Wait for /readyz: 200 where nothing is to be told, else 503 with these words."""

    async def probe() -> str | None:
        status, text = await asyncio.to_thread(asked, port, "/readyz")
        return text if (status == 503 and told in text if told else status == 200) else None

    return await eventually(probe, f"readiness {told}", seconds=seconds)


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
