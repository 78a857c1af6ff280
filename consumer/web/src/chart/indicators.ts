// The strategy's indicators as the API gives them, as lines of the chart.
import type { LineData, Time, UTCTimestamp, WhitespaceData } from "lightweight-charts";
import { unpacked } from "../core/packed";
import { epoch } from "../core/tables";
import type { Bar } from "../core/types";

export interface IndicatorLine {
  name: string;
  /** 0 is the price's own pane. */
  pane: number;
  time: number[];
  value: (number | null)[];
}

/** {"timeframe", "time": [...], "indicators": [{"name", "pane", "values"}]} */
export interface IndicatorsAnswer {
  timeframe: string;
  time: unknown;
  indicators: { name: string; pane: number; values: unknown }[];
}

export function indicatorLines(answer: IndicatorsAnswer): IndicatorLine[] {
  const time = unpacked(answer.time).map(epoch);
  return answer.indicators.map(({ name, pane, values }) => ({ name, pane, time, value: unpacked(values).map(shown) }));
}

/** A condition is drawn as 0 and 1. */
function shown(value: unknown): number | null {
  return typeof value === "number" ? value : typeof value === "boolean" ? Number(value) : null;
}

/** What may be seen of a line: at a coarse timeframe nothing of the candle that is not whole yet. */
export function pointsUpTo(line: IndicatorLine, given: readonly Bar[], cursor: number | null, isBase: boolean): (LineData<Time> | WhitespaceData<Time>)[] {
  const first = given[0];
  const last = given.at(-1);
  if (!first || !last) return [];
  const end = cursor === null || isBase ? last.time : last.time - 1e-3;
  const [from, to] = [rowAt(line.time, first.time - 1e-3) + 1, rowAt(line.time, end)];
  const points: (LineData<Time> | WhitespaceData<Time>)[] = [];
  for (let row = from; row <= to; row += 1) {
    const value = line.value[row];
    const time = line.time[row] as UTCTimestamp;
    points.push(typeof value === "number" ? { time, value } : { time });
  }
  return points;
}

/** Index of the last time at or before `time`; -1 before the first. */
function rowAt(times: readonly number[], time: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] as number) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
