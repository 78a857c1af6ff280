"""What the online commands share: their settings, and a log that stays out of the way."""

import logging
import os

from consumer.logging_setup import set_up_logging
from consumer.settings import PREFIX, DatabaseSettings, KafkaSettings, LogSettings, load_settings


def database_settings() -> DatabaseSettings:
    """Raises SettingsInvalid."""
    settings = load_settings(DatabaseSettings)
    quiet_log(settings)
    return settings


def database_is_set() -> bool:
    """Whether the environment names a database, for commands that know more with one."""
    return bool(os.environ.get(f"{PREFIX}DATABASE_URL"))


def kafka_settings() -> KafkaSettings:
    """Raises SettingsInvalid."""
    settings = load_settings(KafkaSettings)
    quiet_log(settings)
    return settings


def quiet_log(settings: LogSettings) -> None:
    """Errors of a command are one line, which it writes itself; what libraries say shows with LOG_LEVEL set only."""
    if "log_level" in settings.model_fields_set:
        set_up_logging(settings)
    else:
        set_up_logging(settings.model_copy(update={"log_level": "critical"}))
        logging.captureWarnings(False)
