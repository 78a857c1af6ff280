"""An engine child that outlives its worker: the real one, with what ends it at its worker's death taken out."""

from consumer.adapters.engine_pool import child as engine_child

engine_child._end_with_worker = lambda worker_pid: None
engine_child._watch_worker = lambda connection: None

if __name__ == "__main__":
    engine_child.main()
