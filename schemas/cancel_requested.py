"""`backtest.cancel_requested`: stop a run, named by its row or by the request that made or will make it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas.field_types import WORDING, RequestId, RowId
from schemas.json_text import shown_key
from schemas.problems import INVALID_REQUEST, FieldProblem, InvalidRequestError, one_a_field, problems_of
from schemas.topics import EventType

MAX_REASON_CHARACTERS: Final = 10_000
"""It is copied into the terminal event, which has to fit into one record."""

Model = TypeVar("Model", bound=BaseModel)


class CancelRequested(BaseModel):
    """The data of a valid cancel: exactly one of run_id and request_id is set."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    event_type: ClassVar[EventType] = EventType.CANCEL_REQUESTED

    run_id: RowId | None = None
    request_id: RequestId | None = None
    reason: Annotated[str, Field(max_length=MAX_REASON_CHARACTERS, pattern=r"^[^\x00]*$")] | None = None
    """Copied into the terminal event; an empty one counts as none."""

    @model_validator(mode="after")
    def _refuse_other_than_one_target(self) -> "CancelRequested":
        if (self.run_id is None) == (self.request_id is None):
            raise PydanticCustomError("targets", "exactly one of run_id and request_id must be given")
        return self


def parse_cancel_requested(data: dict[str, Any], duplicate_keys: Sequence[str] = ()) -> CancelRequested:
    """Validate the data of a cancel, as decoded from JSON.

    Raises InvalidRequestError with every field at fault, and nothing else.
    """
    return read_cancel(CancelRequested, ("run_id", "request_id"), data, duplicate_keys)


def read_cancel(
    model: type[Model], names: tuple[str, str], data: Mapping[str, Any], duplicate_keys: Sequence[str]
) -> Model:
    """Validate a cancel of either kind. names: the fields of which exactly one names the target.

    Raises InvalidRequestError with every field at fault, and nothing else.
    """
    known = {name: value for name, value in data.items() if name in model.model_fields}
    problems = [FieldProblem(key, INVALID_REQUEST, "stands more than once in its object") for key in duplicate_keys]
    targets = [name for name in names if known.get(name) is not None]
    if len(targets) != 1:
        message = (
            "must not be given together with the other target"
            if targets
            else f"is required: one of {' and '.join(names)}"
        )
        problems += [FieldProblem(name, INVALID_REQUEST, message) for name in names]
    problems += [
        FieldProblem(shown_key(name), INVALID_REQUEST, "is not a known field") for name in data if name not in known
    ]
    if known.get("reason") == "":
        known["reason"] = None
    try:
        cancel = model.model_validate(known)
    except ValidationError as error:
        problems += [problem for problem in problems_of(error, WORDING) if problem.field]
        raise InvalidRequestError(one_a_field(problems)) from error
    if problems:
        raise InvalidRequestError(one_a_field(problems))
    return cancel
