"""The engine's speed, row by row, measured against vectorbt (Rust engine) and raptorbt. `make bench` runs it."""
