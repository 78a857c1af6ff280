"""The database's tables, for commands that make or check them; apart since Alembic and SQLAlchemy are slow to load."""

from consumer.adapters.postgres.schema.migrating import MigrationReport, check_schema, head_revision
from consumer.adapters.postgres.schema.migrating import migrate as migrate_at
from consumer.settings import DatabaseSettings

__all__ = ["MigrationReport", "head_revision", "migrate", "notes_on_schema"]


async def migrate(settings: DatabaseSettings, *, adopt: bool = False) -> MigrationReport:
    """Create or update the tables. Raises StoreUnavailable, StartFailed."""
    return await migrate_at(settings.database_url.get_secret_value(), adopt=adopt)


async def notes_on_schema(settings: DatabaseSettings) -> tuple[str, ...]:
    """What is worth knowing about tables that are fit. Raises StoreUnavailable, and StartFailed where they are not."""
    return await check_schema(settings.database_url.get_secret_value())
