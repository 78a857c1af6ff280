"""What the OpenAPI document says of answers that many routes have."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field


class ProblemDetail(BaseModel):
    """One field at fault."""

    field: str
    code: str
    message: str


class ProblemAnswer(BaseModel):
    """An RFC 9457 problem."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="For programs: what is the matter.")
    details: list[ProblemDetail]


_WORDS: Final = {
    400: "The body cannot be decoded.",
    401: "A valid token is needed.",
    403: "A page of another origin asks.",
    404: "What the path names is not there.",
    405: "Not a method of this path; `Allow` has those that are.",
    409: "It is not in a state for this; `code` says why.",
    412: "It has changed since.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    421: "Without tokens only loopback names are answered.",
    422: "The body, or the query, is refused; `details` has every field at fault.",
    503: "A server is away and nothing is half done; try again after `Retry-After`.",
}
ALWAYS: Final = (401, 421, 422, 503)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: those of every route, and these."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}}}
    return {status: {"description": _WORDS[status], "content": content} for status in sorted({*ALWAYS, *statuses})}


def answered(description: str, schema: dict[str, Any], example: Any = None, status: int = 200) -> dict[int | str, Any]:
    """`responses` for the JSON that a route answers with."""
    content: dict[str, Any] = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {status: {"description": description, "content": {"application/json": content}}}


def name_schemas(document: dict[str, Any]) -> None:
    """Move the schemas of bodies and answers that have a title to where programs that make clients look for names."""
    schemas = document["components"]["schemas"]

    def moved(schema: Any) -> Any:
        if isinstance(schema, list):
            return [moved(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        told = {name: moved(each) for name, each in schema.items()}
        if "properties" not in told or not isinstance(title := told.get("title"), str):
            return told
        schemas[title] = told
        return {"$ref": f"#/components/schemas/{title}"}

    for operations in document["paths"].values():
        for operation in operations.values():
            for told in (operation.get("requestBody", {}), *operation["responses"].values()):
                for content in told.get("content", {}).values():
                    content["schema"] = moved(content.get("schema", {"type": "string"}))


def listed(item: dict[str, Any]) -> dict[str, Any]:
    """The schema of a list's answer; item: has a title."""
    return {
        "title": f"{item['title']}List",
        "type": "object",
        "required": ["items", "next_cursor"],
        "properties": {"items": {"type": "array", "items": item}, "next_cursor": {"type": ["string", "null"]}},
    }
