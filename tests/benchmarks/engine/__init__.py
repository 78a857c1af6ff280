"""The engine's rows of DESIGN section 6, measured against vectorbt (Rust engine) and raptorbt. `make bench` runs it."""
