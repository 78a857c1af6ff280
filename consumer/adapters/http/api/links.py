"""Addresses of things, as a client behind the proxy sees them."""

from starlette.requests import Request


def link(request: Request, path: str) -> str:
    """path: from the root, as "/v1/backtest/7"."""
    return f"{request.app.state.access.root_path}{path}"


def run_links(request: Request, run_id: int) -> dict[str, str]:
    own = link(request, f"/v1/backtest/{run_id}")
    return {"self": own, "events": f"{own}/events", "cancel": f"{own}/cancel"}


def search_links(request: Request, optimization_id: int) -> dict[str, str]:
    own = link(request, f"/v1/optimization/{optimization_id}")
    return {"self": own, "events": f"{own}/events", "cancel": f"{own}/cancel"}
