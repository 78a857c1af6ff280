// The data inside a report, asked as if it were the API: see source.ts for what stands there.
import { unpacked } from "./packed";
import { ApiError, type Query, type Source } from "./source";
import { epoch, rowsOf } from "./tables";
import { secondsOf } from "./timeframes";
import type { Table } from "./types";

export interface Embedded {
  run: Record<string, unknown> & { run_id: number };
  trades?: { items: unknown[] } | Table;
  candles?: Table & { timeframe: string };
  timeframes?: Record<string, unknown>;
  analytics?: Record<string, unknown>;
  compare?: { run: Record<string, unknown> & { run_id: number }; equity?: Table }[];
  thinned?: string | null;
  left_out?: string[];
  generated_at?: string;
  [answer: string]: unknown;
}

/** What the document was given. Throws where it has no data: that is no report. */
export function readEmbedded(text: string | null | undefined): Embedded {
  if (!text?.trim()) throw new Error("this report has no data");
  return JSON.parse(text) as Embedded;
}

export function embeddedSource(data: Embedded): Source {
  const finest = data.candles?.timeframe;
  return {
    embedded: true,
    ...(finest ? { candleTimeframe: finest, timeframes: [finest, ...Object.keys(data.timeframes ?? {})] } : {}),
    get: async <T>(path: string, query: Query = {}) => answer(data, path, query) as T,
  };
}

function answer(data: Embedded, path: string, query: Query): unknown {
  const [, , id, part] = path.split("/");
  if (String(data.run.run_id) !== id) {
    const other = data.compare?.find((each) => String(each.run.run_id) === id);
    const found = part === undefined ? other?.run : part === "equity" ? other?.equity : undefined;
    return found ?? missing(path);
  }
  switch (part) {
    case undefined:
      return data.run;
    case "trades":
      return { items: data.trades ? rowsOf(data.trades) : missing(path), next_cursor: null };
    case "candles":
      return candles(data, query) ?? missing(path);
    case "analytics":
      return data.analytics?.[String(query["by"])] ?? missing(path);
    default:
      return data[part] ?? missing(path);
  }
}

/** Candles of a range; of a coarser timeframe made of those that are here, between the opens that are here. */
function candles(data: Embedded, query: Query): Table | null {
  const table = data.candles;
  if (!table) return null;
  const wanted = query["timeframe"] ? String(query["timeframe"]) : table.timeframe;
  const from = query["from"] ? epoch(query["from"]) : -Infinity;
  const to = query["to"] ? epoch(query["to"]) : Infinity;
  const column = (name: string) => unpacked(table[name]);
  const time = column("time").map(epoch);
  const [open, high, low, close] = ["open", "high", "low", "close"].map((name) => column(name) as number[]) as [number[], number[], number[], number[]];
  const volume = table["volume"] ? (column("volume") as number[]) : null;
  const opens = secondsOf(wanted) <= secondsOf(table.timeframe) ? time : unpacked(data.timeframes?.[wanted]).map(epoch);
  const made: Table = { columns: ["time", "open", "high", "low", "close", "volume"], time: [], open: [], high: [], low: [], close: [], volume: [] };
  const add = (name: string, value: unknown) => (made[name] as unknown[]).push(value);
  let row = 0;
  for (let index = 0; index < opens.length; index += 1) {
    const start = opens[index] as number;
    const end = opens[index + 1] ?? Infinity;
    while (row < time.length && (time[row] as number) < start) row += 1;
    const first = row;
    while (row < time.length && (time[row] as number) < end) row += 1;
    if (row === first || start < from || start >= to) continue;
    add("time", start);
    add("open", open[first]);
    add("high", extreme(high, first, row, Math.max));
    add("low", extreme(low, first, row, Math.min));
    add("close", close[row - 1]);
    add("volume", volume ? sum(volume, first, row) : null);
  }
  return { ...made, timeframe: opens === time ? table.timeframe : wanted, source: table["source"] ?? null };
}

function extreme(values: number[], first: number, end: number, pick: (a: number, b: number) => number): number {
  let found = values[first] as number;
  for (let row = first + 1; row < end; row += 1) found = pick(found, values[row] as number);
  return found;
}

function sum(values: number[], first: number, end: number): number {
  let total = 0;
  for (let row = first; row < end; row += 1) total += values[row] ?? 0;
  return total;
}

function missing(path: string): never {
  throw new ApiError(404, { title: "this report does not contain it", status: 404, detail: `this report does not contain ${path}` });
}
