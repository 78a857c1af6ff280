"""Has every client ask for topics without having the broker make them.

Apart because it reaches into aiokafka: its clients leave the question open, which brokers take for yes, and a topic
that somebody deleted comes back as the broker's default, with one partition and without compaction.
"""

import functools

from aiokafka import client
from aiokafka.admin import client as admin_client
from aiokafka.protocol.metadata import MetadataRequest

_Asking = functools.partial(MetadataRequest, allow_auto_topic_creation=False)


def ask_without_creating() -> None:
    """Do so for every client of this process. Once is enough; further calls change nothing."""
    for module in (client, admin_client):
        module.MetadataRequest = _Asking  # pyright: ignore[reportAttributeAccessIssue]
