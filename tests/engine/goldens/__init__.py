"""Hand-computed cases, one for each rule from decisions to metrics, and the loader that gives them to any engine.

The cases are the TOML files beside this one (`calendar`: swap, old rates and long bars by the calendar; `orders`:
section 7), written to be read: bars and decisions as a table, the expected rows as
a table, the arithmetic in `why` or in comments. Every expected figure was computed by hand or pocket calculator, none
was copied from a simulator's output. `load_cases` turns them into plain data of `tests.engine.reference.model`;
`differences` compares what an engine gave with what was expected.

A case has
- `name`, `why`, and the settings of `Config` by name; volume is 1.0 unless a case sizes by risk or says otherwise;
- `timeframe` (H1), `day` (the date of times written as HH:MM), `warm_up` (number of bars before the run's first);
- `instrument`: a name of INSTRUMENTS, or a table with `symbol` and the fields that differ;
- `bars`: one line a bar, `time open high low close [spread_points] | decision`, a decision being
  `BUY|SELL [volume] [sl level] [tp level ...] [trail distance] [max bars] [limit|stop price] [expires bars]`,
  `MOVE [sl level] [tp level ...]`, `CLOSE` or `CANCEL`;
- `finer` and `conversion.SYMBOL`: `timeframe` and `bars` alike;
- expected: `trades`, columns as the header says, `-` for NULL; and, where given, `equity`, `ambiguous_bars` (0),
  `net_profit_target_first` (that of the rows), `warnings` (none), `total_slippage_cost` (0), `metrics` (those named;
  "null" for None);
- or `error`: the kind of the refusal and the time it names.
"""

from tests.engine.goldens.cases import Case, Expected, Refusal, differences, load_cases

__all__ = ["Case", "Expected", "Refusal", "differences", "load_cases"]
