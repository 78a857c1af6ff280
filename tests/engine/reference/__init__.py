"""The slow, obvious simulator that the compiled engine is held against: the rules in plain Python and exact numbers.

It was written from the rules' text alone, without a look at the engine, and takes plain data in and gives plain data
out (`model`). `run` plays the bars in order; `levels`, `entry_bar`, `orders`, `dealer`, `books`, `conversion`,
`calendar`, `candles`, `loading` and `metrics` each hold one part of the rules.

Where the rules leave room, these readings were chosen; (!) marks those where another one is tempting.

Numbers:

1. Every input float is its shortest decimal repr (`Decimal(repr(x))`); all arithmetic is exact; results leave as the
   nearest float.
2. Roundings are half to even: price sums (bid + spread, close +- pips) to 1e-9, or to 10^-(digits + 1) of an
   instrument of 9 digits and more; each booked item and equity to 1e-8. Nothing else is rounded: not rates, not the
   spread itself, not the money lost a lot in risk sizing, not levels as given.
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
   bar's close moment in the given zone. Stops, targets, stop-out, swap go on.
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

21. Those that open in [bar open, bar close); where a resampled bar holds stray bars of a weekend, from the first of
    them on. For a short their ask uses the run bar's spread, not their own: the question is when this bar's price
    reached the levels.
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
33. The moment: fill or valuation at a close: that close (readings 45, 46); fill at the open or inside: the bar's
    open. So USDJPY's own rate at an open is the close of the bar before. Sizing uses the entry's moment, spread_cost
    the exit's. A rate is too old when its bar closed more than 7 days, or two nominal bars of its own timeframe,
    before the moment: 60 days for MN1. The traded symbol's own bars grow old too: after a hole of 8 days a fill at
    the open fails the run, one at the close does not.
34. A rate is needed at each exit, each close with an open position (valuation), each night charged with points and
    each risk sizing; never when quote = account.
35. spread_cost: spread of the bar of the entry fill (long) or of the exit fill (short), unrounded, times volume,
    contract, rate; rounded 1e-8.
36. Risk sizing: risk_pct * balance / (|entry fill - stop| * contract * rate), floored to the step on exact numbers
    (100 / 100 is 1.00, not 0.99). "At the entry": within 1e-9*entry.

Swap:

37. (!) A fill at a close is just before that close's moment, any other just after its bar's open. So 17:00 New York S
    is charged to what is open: in a hole of the data up to and with the next open, before anything fills there;
    inside a bar after what fills at its open and inside it, before what fills at its close; at a close after the
    decision there. Entered at the 17:00 close pays that night, left there does not; a next_open exit at the 17:00
    open pays it, an entry there does not. At the last close nothing is charged. One that is in equity for the first
    time at a close is so before that close's levels and tests.
38. (!) Saturday's and Sunday's 17:00 are not charged, in any session: Wednesday's three stand for them; a week
    costs seven nights.
39. Points are added with their sign: negative is paid. The swap of an exit is volume * sum over nights (points *
    10^-digits * contract * weight * rate at S), rounded once, when booked.

Metrics:

40. Day label: New York wall time + 7 h; label Saturday or Sunday becomes Monday. session "always": UTC dates, nothing
    folds (365 days have weekends), root sqrt(365). Above D1: a return a bar, also for "always"; MN1 is 1/12 of a year.
41. A day's equity is that of its last simulated bar. All break-even: profit_factor NULL (no losses).
42. No dispersion means all returns exactly equal; no losing day: no return < 0.
43. Peaks start at the deposit. recovery_factor uses the largest fall in money, which may be another one than the
    largest in per cent.
44. Rows count for streaks in the order they were written.

Candles and what is loaded:

45. A given D1 or W1 bar closes at the next one's open where that is at most two hours from open + 24 h (168 h), either
    way; MN1 at most three days from one calendar month after its open, in UTC (31 January 22:00: 29 February 22:00).
    Else, and for the last bar, after that nominal length. (!) For spacing, less is too close than 23 h, 167 h, 28 days,
    though 22 h would be within the two hours.
46. A candle is found by the open of its source bars, of whatever length those are. Above H1 and below D1: whole lengths
    from the start of the (folded) day, the last one cut at the start of the next; a stray bar belongs to Monday's
    first. `always` and day_start alike: nothing folds.
47. A day is named by the date most of it lies on: one that starts at noon or later by the next date. Weeks begin with
    the day of Monday, months with the day of their first (after folding); day_start does not change that.
48. The data end early when the last source bar closes before the candle does; for a candle that closes after a closed
    weekend (a week, some months), before Friday's end. They begin late when the first source bar opens after the
    candle does. A candle's spread is that of its last source bar.
49. MN1 counts as 30 days where lengths divide each other: D1 makes it, W1 doesn't. Spans of sources are compared
    within the range only; of several that span it the finest, of none the longest, of equals the finest.
50. A warm-up bar opens before the start. Conversion bars begin 8 days before the first bar of the warm-up, or before
    the start where there is none.

Those of section 7 (trails, times, moves, entry orders, the account) stand in docs/engine-rules.md, under those names.
"""

from tests.engine.reference.model import (
    MONTH_US,
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
    "MONTH_US",
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
