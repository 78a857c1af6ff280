"""The application: routers, what stands before them, and the document that describes them."""

from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.gzip import GZipMiddleware

from consumer.adapters.http.api.access import COOKIE, Access
from consumer.adapters.http.api.data_problems import handle_data_problems
from consumer.adapters.http.api.docs_page import serve_docs
from consumer.adapters.http.api.documents import ProblemAnswer, name_schemas
from consumer.adapters.http.api.guard import PUBLIC, Guard
from consumer.adapters.http.api.page import serve_page
from consumer.adapters.http.api.problems import handle_problems
from consumer.adapters.http.api.queries import refuse_repeated_names
from consumer.adapters.http.api.routes import ROUTERS
from consumer.adapters.http.api.services import Services

SMALLEST_COMPRESSED_BYTES = 1_000
DESCRIPTION = """Emits requests for backtests and searches, and follows them. It runs nothing itself: what it accepts is
in Postgres before it is answered, and workers take it from there."""


def make_application(services: Services, access: Access) -> FastAPI:
    """Pure but for the page's files: nothing is opened here."""
    app = FastAPI(
        title="Backtest API",
        version=version("backtest-consumer"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # what a function of a generated client is called
        dependencies=[Depends(refuse_repeated_names)],
    )
    app.state.services = services
    app.state.access = access
    handle_problems(app)
    handle_data_problems(app)
    for router in ROUTERS:
        app.include_router(router)
    serve_docs(app, cache(lambda: document_of(app, access)), access.root_path)
    serve_page(app, access.root_path)
    app.add_middleware(GZipMiddleware, minimum_size=SMALLEST_COMPRESSED_BYTES, compresslevel=5)
    app.add_middleware(Guard, access=access)  # the last one added stands before all others
    return app


def document_of(app: FastAPI, access: Access) -> dict[str, Any]:
    """The OpenAPI document. How to sign in stands there always; that one has to, where there are tokens."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=[{"url": access.root_path or "/"}],
    )
    document["openapi"] = "3.1.0"
    components = document.setdefault("components", {})
    problem = ProblemAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = components.setdefault("schemas", {})
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemAnswer"] = problem
    name_schemas(document)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "One of API_TOKENS."},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Of POST /v1/session."},
    }
    if not access.is_open:
        document["security"] = [{"token": []}, {"session": []}]
        for path in PUBLIC:
            for operation in document["paths"][path].values():
                operation["security"] = []
    return document
