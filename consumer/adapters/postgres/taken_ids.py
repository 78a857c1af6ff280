"""Numbers that another service took by hand, which the table's sequence does not know of."""

from consumer.adapters.postgres.pool import Connection


async def pass_taken_ids(connection: Connection, table: str) -> None:
    """Where the sequence of `table.id` stands on a taken number, move it to the last of those that follow without a
    gap: not to the greatest there is, behind which there may be nothing.

    What it does is not undone by a rollback. Raises StoreUnavailable, inside `translated`, where no number is left.
    """
    await connection.execute(_PASS.format(table=table))


# Never backwards: another worker may have gone on meanwhile.
_PASS = """
WITH sequence AS (
    SELECT s.name, pg_sequence_last_value(s.name::regclass) AS last
    FROM (SELECT pg_get_serial_sequence('{table}', 'id') AS name) s
), block AS (
    SELECT t.id FROM {table} t, sequence
    WHERE t.id >= sequence.last AND EXISTS (SELECT 1 FROM {table} f WHERE f.id = sequence.last)
        AND NOT EXISTS (SELECT 1 FROM {table} n WHERE n.id = t.id::bigint + 1)
    ORDER BY t.id LIMIT 1
)
SELECT setval(sequence.name, greatest(block.id, nextval(sequence.name))) FROM sequence, block
WHERE block.id > sequence.last
"""
