// Trades as positions, and what a chart shows of them at a moment: markers and lines, of the past alone while replaying.
import type { Line, Marker } from "../core/hook";
import { epoch } from "../core/tables";
import type { Bar, Trade } from "../core/types";

export interface Exit {
  time: number;
  price: number;
  profit: number;
  reason: string;
  stop: number | null;
  target: number | null;
}

/** The rows of one position. Times are epoch seconds, of the opens of the bars of the fills. */
export interface Position {
  id: number;
  direction: "BUY" | "SELL";
  entry: number;
  entryPrice: number;
  stopAtEntry: number | null;
  exits: Exit[];
  rows: Trade[];
}

/** Positions in order of entry; the exits of each in order of time. */
export function positionsOf(trades: readonly Trade[]): Position[] {
  const found = new Map<number, Position>();
  for (const row of trades) {
    const position = found.get(row.position_id) ?? begun(row);
    found.set(row.position_id, position);
    position.rows.push(row);
    position.exits.push({
      time: epoch(row.exit_time),
      price: row.exit_price,
      profit: row.profit,
      reason: row.exit_reason,
      stop: row.stop_loss,
      target: row.take_profit,
    });
  }
  for (const position of found.values()) position.exits.sort((a, b) => a.time - b.time);
  return [...found.values()].sort((a, b) => a.entry - b.entry || a.id - b.id);
}

function begun(row: Trade): Position {
  return {
    id: row.position_id,
    direction: row.direction,
    entry: epoch(row.entry_time),
    entryPrice: row.entry_price,
    stopAtEntry: row.stop_at_entry ?? null,
    exits: [],
    rows: [],
  };
}

export function lastExit(position: Position): number {
  return position.exits.at(-1)?.time ?? position.entry;
}

/** Index of the last bar that opens at or before `time`; -1 before the first. */
export function indexAt(bars: readonly { time: number }[], time: number): number {
  let low = 0;
  let high = bars.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((bars[middle] as { time: number }).time <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export interface ShownMarker extends Marker {
  direction: "BUY" | "SELL";
  /** Of the exit; null at an entry, which is coloured by its direction alone. */
  profit: number | null;
}

/** Entries and exits that lie in `bars`, at the candle that holds them, in order of time. `cursor`: nothing after the
 * bar that opens then; null: everything. */
export function markersOf(positions: readonly Position[], bars: readonly Bar[], cursor: number | null): ShownMarker[] {
  const made: ShownMarker[] = [];
  const add = (time: number, marker: Omit<ShownMarker, "time">) => {
    if (cursor !== null && time > cursor) return;
    const at = bars[indexAt(bars, time)];
    if (at) made.push({ time: at.time, ...marker });
  };
  for (const { id, direction, entry, exits } of positions) {
    add(entry, { trade: id, kind: "entry", direction, profit: null });
    for (const exit of exits) add(exit.time, { trade: id, kind: "exit", direction, profit: exit.profit });
  }
  return made.sort((a, b) => a.time - b.time);
}

export interface ShownLine extends Line {
  trade: number;
  /** Where it ends; a level ends where it began. */
  toPrice: number;
  /** null: it is open yet. */
  profit: number | null;
}

/** What joins entries with exits, and the levels in between. Until the exit a position shows no stop but that of its entry,
 * and no target; afterwards the target in force at the exit too. */
export function linesOf(positions: readonly Position[], bars: readonly Bar[], cursor: number | null): ShownLine[] {
  const made: ShownLine[] = [];
  const first = bars[0];
  const last = bars.at(-1);
  if (!first || !last) return made;
  const snap = (time: number) => (bars[Math.max(0, indexAt(bars, time))] as Bar).time;
  for (const position of positions) {
    const { id, entry, entryPrice, stopAtEntry, exits } = position;
    if (cursor !== null && entry > cursor) continue;
    const known = cursor === null ? exits : exits.filter(({ time }) => time <= cursor);
    const isClosed = known.length === exits.length;
    const from = snap(entry);
    const end = isClosed ? lastExit(position) : (cursor as number);
    if (end < first.time) continue;
    const to = snap(end);
    const common = { trade: id, from };
    for (const exit of known) made.push({ ...common, kind: "trade", to: snap(exit.time), price: entryPrice, toPrice: exit.price, profit: exit.profit });
    if (!isClosed) made.push({ ...common, kind: "trade", to, price: entryPrice, toPrice: entryPrice, profit: null });
    if (stopAtEntry !== null) made.push({ ...common, kind: "stop", to, price: stopAtEntry, toPrice: stopAtEntry, profit: null });
    for (const { time, target } of known) {
      if (target !== null) made.push({ ...common, kind: "target", to: snap(time), price: target, toPrice: target, profit: null });
    }
  }
  return made;
}

/** Candles of a timeframe as they stand at the close of the bar that opens at `cursor`: whole ones, and the last made of
 * the bars up to it. `base`: bars of the run's timeframe, from the open of that last candle on at least. */
export function candlesUpTo(candles: readonly Bar[], base: readonly Bar[], cursor: number): Bar[] {
  const last = indexAt(candles, cursor);
  const whole = candles.slice(0, Math.max(0, last));
  const open = candles[last];
  const made = open && candleSoFar(open.time, base, cursor);
  return made ? [...whole, made] : whole;
}

/** The candle that opens at `open`, of the bars up to the one that opens at `cursor`; null where there are none. */
export function candleSoFar(open: number, base: readonly Bar[], cursor: number): Bar | null {
  const end = indexAt(base, cursor);
  let row = indexAt(base, open - 1e-6) + 1;
  const first = base[row];
  if (!first || row > end) return null;
  const made: Bar = { ...first, time: open };
  for (row += 1; row <= end; row += 1) {
    const bar = base[row] as Bar;
    made.high = Math.max(made.high, bar.high);
    made.low = Math.min(made.low, bar.low);
    made.close = bar.close;
    if (bar.volume !== undefined) made.volume = (made.volume ?? 0) + bar.volume;
  }
  return made;
}
