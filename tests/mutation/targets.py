"""What a campaign works on: modules and tests by name, apart so that a test can see them all to be there."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = (
    "kernel.loop",
    "kernel.levels",
    "kernel.money",
    "kernel.orders",
    "kernel.trailing",
    "kernel.entry_bar",
    "numeric.rounding",
    "market.lots",
    "specification",
    "results.metrics",
)
"""Of the engine."""

FIGURES_TESTS = (
    "results/test_metrics.py",
    "kernel/test_loop.py",
    "kernel/test_limits.py",
    "numeric/test_rounding.py",
    "market/test_lots.py",
    "test_specification.py",
    "test_simulate.py::test_a_field_out_of_range_is_refused_by_name",
)
"""Of tests/engine, as all below."""
RUNS_TESTS = (
    "kernel/test_loop.py",
    "kernel/test_limits.py",
    "market/test_swap.py",
    "test_simulate.py",
    "deciders/test_decisions.py",
    "deciders/test_view.py",
)
NOT_WITHOUT_COMPILER = (
    "test_a_change_in_any_part_changes_the_cache_key",
    "test_compiled_code_is_kept_where_the_package_can_not_be_written",
    # A bar strategy reads a value that is a numpy integer only in plain Python.
    "test_the_json_object_holds_every_figure_and_no_nan",
)
TOO_SLOW_WITHOUT_COMPILER = (
    "test_many_trades_grow_the_books",
    "test_a_run_on_its_sample_is_fixed_to_the_last_digit",
    "test_the_second_simulation_can_be_stopped_too",
    "test_chunk_size_changes_nothing",
    "test_rows_add_up_to_the_final_balance",
)


def source_of(module: str) -> str:
    """Return the source of one of MODULES."""
    return (ROOT / "engine" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
