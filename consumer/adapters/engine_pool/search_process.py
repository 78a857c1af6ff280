"""A process of a search, `python -P -m consumer.adapters.engine_pool.search_process SOCKET_FD PARENT_PID`: loads its
own bars once, then simulates part after part. search_processes starts it.
"""

import gc
import mmap
import struct
import sys

import consumer.installed.search_path  # noqa: F401  # light; looks at what this process began with
from consumer.adapters.engine_pool.child import Channel, attach, set_title


def main() -> None:
    """Serve the parent until it goes away."""
    channel, _ = attach("backtest-search")
    # Imported late: until `attach` nothing slow stands between the start and the tie to the parent.
    from consumer.adapters.engine_pool.warm_up import warm_up, warm_up_search

    # What a strategy prints is not the result.
    sys.stdout = sys.stderr
    warm_up()
    warm_up_search()
    set_title("backtest-search")
    channel.send({"type": "ready"})
    serve(channel)


def serve(channel: Channel) -> None:
    """Open the search and answer part after part. What cannot be opened, or no combination survives, is refused."""
    from consumer.adapters.engine_pool.search_messages import part_of, search_of, shard_message
    from consumer.adapters.engine_pool.task import failure_of

    opening = channel.receive()
    with mmap.mmap(opening["counter_fd"], 8) as counter:

        def note(number: int) -> None:
            counter[:8] = struct.pack("<q", number)

        try:
            simulate = search_of(opening)()
            gc.collect()
            gc.freeze()
            channel.send({"type": "opened"})
            while True:
                message = channel.receive()
                shard, body = shard_message(simulate(message["fold"], part_of(message), note))
                channel.send(shard, body)
        except Exception as error:
            failed = failure_of(error)
            channel.send({"type": "refused", "code": failed.code, "message": failed.message})
            channel.receive()


if __name__ == "__main__":
    main()
