"""Who asks language models for runs: the desk makes the calls of a worker, a run's advice decides which it may have."""
