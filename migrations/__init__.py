"""The history of the database: a line of Alembic revisions, packaged so that `backtest migrate` needs no checkout.

Run by `consumer.adapters.postgres.schema.migrating`, which adds the lock, the transaction and the check of shared
tables. To add a revision: write `versions/r000N_what_it_does.py` by hand, up and down, without importing the models
(they move on, history does not). `tests/integration/test_migrations.py` fails until the models and the history give the
same database.

The database is usually another service's too, so in a revision

- a shared table may already have what it adds: `if_not_exists=True` in `op.add_column` and `op.create_index`;
- a downgrade never removes another service's data: see `r0001_shared_tables`.
"""
