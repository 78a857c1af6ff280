"""What the service's own code raises, by what the caller does about it.

ConsumerError
    ├── Unavailable               a server is away: retry, with backoff, for as long as it takes
    │   ├── StoreUnavailable      Postgres
    │   │   ├── StoreTooSlow      it gave a statement up for the time it took: ask for less at once
    │   │   └── StoreBusy         somebody held a lock for too long: nothing was written, ask again
    │   ├── BrokerUnavailable     Kafka
    │   └── ArtifactsUnavailable  the artefact store (a full disk, say)
    ├── SettingsInvalid           stop: exit 2, one clear line
    ├── NotThere                  a person or a program named what is not there: say so (exit 2)
    │   ├── NoSuchRun
    │   ├── NoSuchSearch
    │   ├── NoSuchStrategy
    │   └── FilesGone             files of a run that were removed, or lie elsewhere
    ├── NotCompleted              a run has no results (yet): say which status it has (exit 2)
    ├── LedgerUnusable            a file of calls to models cannot be read or written: say so (exit 2)
    ├── NameTaken                 a row with that name is there already: say so (exit 2)
    ├── RowChanged                somebody changed a row meanwhile: look at it again
    ├── SearchProcessLost         stop: processes of a search cannot be kept alive (exit 1)
    ├── StartFailed               stop: a server did not answer within START_TIMEOUT_SECONDS, or is not fit (exit 1)
    └── AlreadyAtWork             stop: another program does the same at the moment (exit 1)

Adapters translate a driver's errors once, with `raise ... from`.
"""


class ConsumerError(Exception):
    """Base of everything the service raises on purpose."""


class Unavailable(ConsumerError):
    """A server is away; nothing is known to be lost. Retry."""


class StoreUnavailable(Unavailable):
    """Postgres does not answer, or dropped the connection: what was being committed may or may not have been."""


class StoreTooSlow(StoreUnavailable):
    """Postgres gave a statement up (statement_timeout, an administrator): what takes less time may pass."""


class StoreBusy(StoreUnavailable):
    """Another transaction held a lock for longer than this one waits; it was rolled back."""


class BrokerUnavailable(Unavailable):
    """Kafka does not answer, or did not acknowledge in time: what was being sent may or may not have arrived."""


class ArtifactsUnavailable(Unavailable):
    """The artefact store refused a write; no torn file stands under a final name."""


class SettingsInvalid(ConsumerError):
    """A setting is missing or wrong; the message names it, never its secret value."""


class NotThere(ConsumerError):
    """The database does not have what was named."""


class NoSuchRun(NotThere):
    """It has no run of that number."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"there is no run {run_id}")
        self.run_id = run_id


class NoSuchSearch(NotThere):
    """It has no search of that number."""

    def __init__(self, optimization_id: int) -> None:
        super().__init__(f"there is no search {optimization_id}")
        self.optimization_id = optimization_id


class NoSuchStrategy(NotThere):
    """It has no strategy of that number."""

    def __init__(self, strategy_id: int) -> None:
        super().__init__(f"there is no strategy {strategy_id}")
        self.strategy_id = strategy_id


class FilesGone(NotThere):
    """A file that a run left is not in the artefact store any more, or in another one."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"{place} is not there: `backtest runs prune` removed the files of this run, or they lie elsewhere than"
            f" BACKTEST_ARTIFACTS_URL says"
        )


class NotCompleted(ConsumerError):
    """A run that has no results, since it has not completed."""

    def __init__(self, run_id: int, status: str) -> None:
        super().__init__(f"run {run_id} has no results: it is {status}")
        self.run_id, self.status = run_id, status


class LedgerUnusable(ConsumerError):
    """A ledger file is none, or cannot be read or written."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"the ledger {path}: {why}")
        self.path = path


class NameTaken(ConsumerError):
    """Another row has the name, which only one may have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a strategy named {name!r} already")
        self.name = name


class RowChanged(ConsumerError):
    """A row is not what it was when the change of it was decided; nothing was changed."""

    def __init__(self, strategy_id: int) -> None:
        super().__init__(f"strategy {strategy_id} was changed meanwhile")
        self.strategy_id = strategy_id


class StartFailed(ConsumerError):
    """The worker cannot start; the message says which server and why."""


class AlreadyAtWork(ConsumerError):
    """What only one may do at a time is being done by another; nothing was changed. Try again when that one is done."""


class SearchProcessLost(ConsumerError):
    """Processes of a search end before they begin, or cannot load what it needs; the message says how."""
