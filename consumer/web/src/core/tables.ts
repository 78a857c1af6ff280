// The API's tables, {"columns": [...], NAME: [...]}, read as rows, bars or points.
import { unpacked } from "./packed";
import type { Bar, Candles, Table } from "./types";

/** Epoch seconds of an RFC 3339 text, or of a number that is that already. NaN where it is neither. */
export function epoch(time: unknown): number {
  return typeof time === "number" ? time : Date.parse(String(time)) / 1000;
}

/** A list's items, or a table's rows as objects. */
export function rowsOf(answer: { items: unknown[] } | Table): Record<string, unknown>[] {
  if ("items" in answer && Array.isArray(answer.items)) return answer.items as Record<string, unknown>[];
  const table = answer as Table;
  const columns = table.columns.map((name): [string, unknown[]] => [name, unpacked(table[name])]);
  const height = columns[0]?.[1].length ?? 0;
  return Array.from({ length: height }, (_, row) => Object.fromEntries(columns.map(([name, values]) => [name, values[row]])));
}

export function numbers(table: Table, name: string): (number | null)[] {
  return unpacked(table[name]) as (number | null)[];
}

export function times(table: Table, name = "time"): number[] {
  return unpacked(table[name]).map(epoch);
}

/** Bars of a candles answer. The first and the last may be cut by the run's data; they hold what there is of them. */
export function candlesOf(answer: Table & { timeframe: string; source?: string | null }): Candles {
  const [time, open, high, low, close] = [times(answer), ...["open", "high", "low", "close"].map((name) => numbers(answer, name))];
  const volume = answer["volume"] ? numbers(answer, "volume") : null;
  const bars: Bar[] = [];
  for (let row = 0; row < (time?.length ?? 0); row += 1) {
    const bar = { time: time?.[row], open: open?.[row], high: high?.[row], low: low?.[row], close: close?.[row] } as Bar;
    const traded = volume?.[row];
    if (typeof traded === "number") bar.volume = traded;
    bars.push(bar);
  }
  return { timeframe: answer.timeframe, source: answer.source ?? null, bars };
}
