"""What the service's own code raises, by what the caller does about it.

ConsumerError
    ├── Unavailable               a server is away: retry, with backoff, for as long as it takes
    │   ├── StoreUnavailable      Postgres
    │   ├── BrokerUnavailable     Kafka
    │   └── ArtifactsUnavailable  the artefact store (a full disk, say)
    ├── SettingsInvalid           stop: exit 2, one clear line
    └── StartFailed               stop: a server did not answer within START_TIMEOUT_SECONDS, or is not fit (exit 1)

Adapters translate a driver's errors once, with `raise ... from`.
"""


class ConsumerError(Exception):
    """Base of everything the service raises on purpose."""


class Unavailable(ConsumerError):
    """A server is away; nothing is known to be lost. Retry."""


class StoreUnavailable(Unavailable):
    """Postgres does not answer, or dropped the connection: what was being committed may or may not have been."""


class BrokerUnavailable(Unavailable):
    """Kafka does not answer, or did not acknowledge in time: what was being sent may or may not have arrived."""


class ArtifactsUnavailable(Unavailable):
    """The artefact store refused a write; no torn file stands under a final name."""


class SettingsInvalid(ConsumerError):
    """A setting is missing or wrong; the message names it, never its secret value."""


class StartFailed(ConsumerError):
    """The worker cannot start; the message says which server and why."""
