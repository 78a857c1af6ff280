"""What the engine refuses or gives up on, by what the caller does about it.

    EngineError
    ├── InputRefused            the caller's input is wrong; nothing was simulated      (CLI exit 2)
    │   ├── BadBars             `FILE: row N (time T): what is wrong`
    │   ├── BadSignals          the same for a signal file
    │   ├── BadInstruments      a mistake in an instruments file, with line and field
    │   ├── UnknownSymbol, UnknownTimeframe, UnknownStrategy
    │   ├── InvalidParams       strategy parameters, every field at fault
    │   ├── ModeUnavailable     a model would decide, and none is configured for it
    │   ├── InvalidSpecification  a money or mode field out of range
    │   ├── InvalidSpace        the space of a search, every parameter at fault
    │   └── NoConversion        no bars for the pair that joins profit and account currency
    └── RunFailed               found while simulating; the run ends `failed`           (CLI exit 1)
        ├── NoData              no bar in [start, end)
        ├── StrategyError       the strategy raised, or decided something impossible, at a time
        │   └── MissingContext  it reads a context timeframe that the run was not given
        ├── AdviceFailed        a model that decides cannot be asked any more; its code says why
        ├── NoRateYet           a rate was needed before any conversion bar had closed
        ├── SearchFailed        no combination of a search came to a result
        ├── ResultsDisagree     the best of a search is another one when it is run alone: a defect as well
        └── BooksDoNotBalance   the accounting identity broke: a defect of the engine, never of the input

`code` is the stable name that events carry.
"""

from dataclasses import dataclass
from typing import ClassVar


class EngineError(Exception):
    """Base of everything the engine raises on purpose."""

    code: ClassVar[str] = "engine_error"


class InputRefused(EngineError):
    """The input is wrong; the message names what and where."""

    code = "invalid_request"


class RunFailed(EngineError):
    """The simulation cannot go on; the message says why and at which time."""

    code = "strategy_error"


class BadBars(InputRefused):
    code = "bad_bars"


class BadSignals(InputRefused):
    code = "bad_signals"


class BadInstruments(InputRefused):
    code = "bad_instruments"


class UnknownSymbol(InputRefused):
    code = "unknown_symbol"


class UnknownTimeframe(InputRefused):
    code = "unknown_timeframe"


class UnknownStrategy(InputRefused):
    code = "unknown_strategy"


class InvalidSpecification(InputRefused):
    code = "invalid_request"


class ModeUnavailable(InputRefused):
    code = "mode_unavailable"


class NoConversion(InputRefused):
    code = "no_conversion"


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """One strategy parameter at fault. field: its name; message: what is wrong with it."""

    field: str
    message: str


class InvalidParams(InputRefused):
    code = "invalid_params"

    def __init__(self, strategy_key: str, problems: tuple[ParameterProblem, ...]) -> None:
        self.strategy_key = strategy_key
        self.problems = problems
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        super().__init__(f"strategy {strategy_key!r}: {listed}")


class InvalidSpace(InputRefused):
    """problems: fields are `param_grid.<name>`, or what else of a search is at fault."""

    code = "invalid_request"

    def __init__(self, problems: tuple[ParameterProblem, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))


class NoData(RunFailed):
    code = "no_data"


class StrategyError(RunFailed):
    code = "strategy_error"


class MissingContext(StrategyError, KeyError):
    """The strategy reads a context timeframe that the run was not given."""

    def __init__(self, timeframe: str, way_on: str) -> None:
        self.timeframe = timeframe
        super().__init__(f"the run has no context timeframe {timeframe!r}: {way_on}")

    def __str__(self) -> str:
        return str(self.args[0])


class AdviceFailed(RunFailed):
    """A run needs an answer that it will not get. code: llm_unavailable, llm_refused or llm_replay_miss."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code  # type: ignore[misc]  # of each failure its own
        super().__init__(message)


class NoRateYet(RunFailed):
    code = "no_conversion"


class BooksDoNotBalance(RunFailed):
    code = "books_do_not_balance"


class SearchFailed(RunFailed):
    """code and message are those of the combination that failed first."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code  # type: ignore[misc]  # of each search its own
        super().__init__(f"every combination failed, the first: {code}: {message}")


class ResultsDisagree(RunFailed):
    code = "results_disagree"

    def __init__(self, params: str, differing: tuple[str, ...]) -> None:
        self.differing = differing
        super().__init__(f"the best combination, {params}, run alone gives another {', '.join(differing)}")
