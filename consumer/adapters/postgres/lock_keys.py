"""The advisory locks that this program takes in a database, each with a key of its own: two that share one would make
a sweep wait for a migration, or skip its turn while one is at work.
"""

from typing import Final

MIGRATION: Final = int.from_bytes(b"backtest")
"""One migration at a time; by transaction."""

SWEEP: Final = int.from_bytes(b"bt_sweep")
"""One sweep over the queue at a time; by transaction."""

PRUNE: Final = int.from_bytes(b"backprue")
"""One retention command at a time; by a transaction that stays open, so that it ends however the command ends."""
