"""The slow, obvious simulator that the compiled engine is held against: the rules in plain Python and exact numbers.

It was written from the rules' text alone, without a look at the engine, and takes plain data in and gives plain data
out (`model`). `simulator` plays the bars in order; `levels`, `orders`, `books`, `conversion`, `calendar` and `metrics`
each hold one part of the rules.

Where the rules leave room, these readings were chosen; (!) marks those where another one is tempting.

Numbers:

1. Every input float is its shortest decimal repr (`Decimal(repr(x))`); all arithmetic is exact; results leave as the
   nearest float.
2. Roundings are half to even: price sums (bid + spread, close +- pips) to 1e-9; each booked item and equity to 1e-8.
   Nothing else is rounded: not rates, not the spread itself, not the money lost a lot in risk sizing, not levels as
   given.
3. Reached: long stop `price <= level + 1e-9*price`, long target `price >= level - 1e-9*price`; short mirrored on ask;
   `price` is the market price looked at (open, high, low, close on the position's side). "Opens at or beyond" uses
   the same tolerance; then the fill is the open.
4. Level checks of a decision (stop < close < targets, strictly rising; SELL mirrored) are exact and strict, against
   the deciding bar's bid close, no tolerance. Levels must be finite; a level <= 0 is allowed where it is on its side
   (it is simply never reached).

Decisions:

5. A decision is checked (levels, volume on the step and > 0, CLOSE carries nothing) even when it will have no effect
   (same direction, `ignore`, flat CLOSE, last bar). Decisions on warm-up bars and in skipped hours or weekdays are
   not taken and not checked by the run.
6. (!) Skipped hours/weekdays drop every decision, CLOSE included; the hour and weekday are those of the deciding
   bar's close moment (open + timeframe) in the given zone. Stops, targets, stop-out, swap go on.
7. A same-direction signal is ignored whole: neither volume nor levels change. CLOSE when flat does nothing.
8. `sl_pips` / `tp_pips` fill in per side: a decision with a stop but no target gets only the target, and the other
   way round. Both are measured from the deciding bar's bid close, also for SELL (whose levels are looked at on ask)
   and in next_open.
9. next_open: the decision of bar t is kept whole and carried out at the open of t+1. Nothing can happen to the
   position between that close and that open, so it always meets the position it was taken with; it goes before any
   level: a CLOSE at an open beyond the stop is `signal`.
10. Reverse whose new side cannot be sized (risk) still closes, reason `reverse`, and opens nothing. At the last bar a
    reverse closes with reason `reverse`; a refused opening at the last bar counts no warning.
11. Volume: decision, else risk_pct, else volume (0.1).

Order within one bar:

12. close_price / intra_candle: levels (of positions opened before this bar) - stop-out test - decision - stop-out
    test - swap charge, and where there was one a last stop-out test - end_of_data at the last bar - equity recorded.
    next_open: pending decision at the open first; the decision at the close is only kept. A position stopped out at
    the 17:00 close has left, and does not pay that night.
13. Equity of a bar is what stands after all of that: an entry at the close already shows its spread and half
    commission there.

Levels:

14. At an open, stop before targets: if (after a move to entry) the stop lies beyond the target and the open reaches
    both, the stop fills, in both simulations. Same at a close in close_price. Nothing of this counts as ambiguous.
15. An open, or a close in close_price, that reaches several targets fills them in order at that one price, a row
    each.
16. The moved stop counts from the next bar; until then rows show and fills use the old one (or none). The stop moves
    at each target but the last, always to the entry fill price (short: the bid it sold at, looked at on ask).
17. `take_profit` of a row is the next unspent target at the exit (for a take_profit row the one filled), `stop_loss`
    the stop in force; NULL without.
18. tp_partial_close_ratio 1 closes all at the first target. A target at which everything closes moves no stop. A share
    within 1e-9 of a lot step of a whole one is whole: a ratio given as 0.3333333333333333 closes 0.01 of 0.03.
19. next_open, fixed volume, open beyond the stop (or a target): the position is opened at that open and leaves at
    that open: two sides of the spread, two half commissions, entry_time = exit_time. With risk sizing a stop at or
    beyond the entry *fill* opens nothing instead; a stop between bid open and ask fill is sized by that small
    distance, by the letter.
20. Ambiguous: strictly between at the open (after what the open filled), stop and *next* target both reached. Only a
    stop reached after open fills, or only targets: not ambiguous.

Finer bars:

21. Those that open in [bar open, bar open + timeframe). For a short their ask uses the run bar's spread, not
    their own: the question is when this bar's price reached the levels.
22. Each finer bar is asked: opens at or beyond the stop - stop; at or beyond the next target - target; reaches both -
    open; one - that one; none - the next finer bar. After a target the *same* finer bar is asked again with the next
    target and the old stop.
23. Once every target the run bar reaches is filled and volume is left, the stop (which the run bar reached) fills at
    its level: nothing left to order, not counted.
24. Left open after some targets were decided: those stay filled; stop-first closes the rest at the stop, target-first
    fills the remaining reached targets, then the stop. The bar counts once. `ambiguous_bars` is that of the stop-
    first simulation.

Stop-out:

25. Equity <= 0 ends the run also when flat (after a gap through a stop): no row, a warning, before the decision is
    taken. Decisions pending are dropped.
26. Only closes are tested: in next_open an entry cost that takes equity to 0 counts at the entry bar's close, if the
    position is still there.
27. A reverse that leaves equity <= 0 after its exit still opens (fixed volume) and is stopped out at the same close
    by the second test.
28. After the end no bar is simulated: equity, avg_spread and days stop with that bar.

Money:

29. Entry half commission: round(c/2 * volume) once, booked at entry. A row shows its share round(c/2 * v) + round(c/2
    * v) of its exit; the row that closes the position takes what is left of the booked entry half, so rows add up to
    the books. `profit` = gross - commission + swap.
30. `equity_after` is the balance: the whole entry half is already out of it after the first partial row; floating is
    not in it.
31. Floating = (price - entry) * contract * open volume * rate at that close, plus swap charged but not yet booked; no
    exit commission. Rounded once, as equity.
32. Rates: direct (quote+account) before inverted (account+quote) before through USD (each leg direct, else inverted),
    chosen by what data there is, not by what has closed; a chosen pair without a closed bar fails the run. The traded
    symbol's own bars (warm-up too) win over a file for the same pair.
33. The moment: fill or valuation at a close: open + timeframe; fill at the open or inside: the bar's open. So
    USDJPY's own rate at an open is the close of the bar before. Sizing uses the entry's moment, spread_cost the
    exit's.
34. A rate is needed at each exit, each close with an open position (valuation), each swap charge and each risk
    sizing; never when quote = account.
35. spread_cost: spread of the bar of the entry fill (long) or of the exit fill (short), unrounded, times volume,
    contract, rate; rounded 1e-8.
36. Risk sizing: risk_pct * balance / (|entry fill - stop| * contract * rate), floored to the step on exact numbers
    (100 / 100 is 1.00, not 0.99). "At the entry": within 1e-9*entry.

Swap:

37. (!) A close is just before its moment, an open just after. So the position that is open after the decision at
    the close of bar t is charged for every 17:00 New York S with close(t) <= S < close(t+1): entered at the 17:00
    close pays that night, left at the 17:00 close does not; a next_open exit at the 17:00 open pays it, an entry
    there does not. Held 24 hours from 17:00 to 17:00: one night, always. What happens inside t+1 before S changes
    nothing ("at the last bar that closes at or before it"). At the last bar nothing is charged.
38. (!) Saturday's and Sunday's 17:00 are not charged, in any session: Wednesday's three stand for them; a week
    costs seven nights.
39. Points are added with their sign: negative is paid. The swap of an exit is volume * sum over nights (points *
    10^-digits * contract * weight * rate at bar t's close), rounded once, when booked. Charged swap is in equity from
    bar t on.

Metrics:

40. Day label: New York wall time + 7 h; label Saturday or Sunday becomes Monday. session "always": UTC dates, nothing
    folds (365 days have weekends), root sqrt(365).
41. A day's equity is that of its last simulated bar. All break-even: profit_factor NULL (no losses).
42. No dispersion means all returns exactly equal; no losing day: no return < 0.
43. Peaks start at the deposit. recovery_factor uses the largest fall in money, which may be another one than the
    largest in per cent.
44. Rows count for streaks in the order they were written.
"""

from tests.engine.reference.model import (
    Bar,
    Config,
    Decision,
    DecisionRefusedError,
    Instrument,
    NoConversionError,
    RunRefusedError,
    Series,
    Simulation,
    Trade,
)
from tests.engine.reference.simulator import simulate

__all__ = [
    "Bar",
    "Config",
    "Decision",
    "DecisionRefusedError",
    "Instrument",
    "NoConversionError",
    "RunRefusedError",
    "Series",
    "Simulation",
    "Trade",
    "simulate",
]
