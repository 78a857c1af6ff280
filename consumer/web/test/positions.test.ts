import { test } from "node:test";
import { deepEqual, equal } from "node:assert/strict";
import { candlesUpTo, indexAt, linesOf, markersOf, positionsOf } from "../src/chart/positions";
import type { Bar, Trade } from "../src/core/types";

const HOUR = 3600;

function bars(count: number, length = HOUR): Bar[] {
  return Array.from({ length: count }, (_, row) => ({ time: row * length, open: row, high: row + 2, low: row - 1, close: row + 1, volume: 10 }));
}

function trade(over: Partial<Trade>): Trade {
  const time = (hours: number) => new Date(hours * HOUR * 1000).toISOString();
  return {
    position_id: 1, direction: "BUY", entry_time: time(2), exit_time: time(5), entry_price: 3, exit_price: 6, volume: 0.1, profit: 3, commission: 0, spread_cost: 0, swap: 0,
    equity_after: 103, stop_loss: 4, take_profit: 6, exit_reason: "take_profit", pattern_name: null, pattern_metadata: null, source: "rule", stop_at_entry: 1, ...over,
  };
}

test("a bar is found at its open, between opens and before the first", () => {
  deepEqual([-1, 0, 1, HOUR, HOUR * 1.5, HOUR * 99].map((time) => indexAt(bars(3), time)), [-1, 0, 0, 1, 1, 2]);
});

test("an exit behind the cursor is not given to the chart", () => {
  const positions = positionsOf([trade({})]);
  deepEqual(markersOf(positions, bars(10), 4 * HOUR).map(({ kind, time }) => [kind, time]), [["entry", 2 * HOUR]]);
  deepEqual(markersOf(positions, bars(10), 5 * HOUR).map(({ kind }) => kind), ["entry", "exit"]);
  deepEqual(markersOf(positions, bars(10), 1 * HOUR), []);
});

test("before the exit there is no level but the stop of the entry, and it ends at the cursor", () => {
  const lines = linesOf(positionsOf([trade({})]), bars(10), 4 * HOUR);
  deepEqual(lines.map(({ kind, price, to, profit }) => [kind, price, to, profit]), [
    ["trade", 3, 4 * HOUR, null],
    ["stop", 1, 4 * HOUR, null],
  ]);
});

test("after the exit the target that was in force stands there too", () => {
  const lines = linesOf(positionsOf([trade({})]), bars(10), 5 * HOUR);
  deepEqual(lines.map(({ kind, price, toPrice }) => [kind, price, toPrice]), [
    ["trade", 3, 6],
    ["stop", 1, 1],
    ["target", 6, 6],
  ]);
});

test("a partial exit is known before the rest has left", () => {
  const rows = [trade({}), trade({ exit_time: new Date(8 * HOUR * 1000).toISOString(), exit_price: 9 })];
  const kinds = markersOf(positionsOf(rows), bars(10), 6 * HOUR).map(({ kind }) => kind);
  deepEqual(kinds, ["entry", "exit"]);
  equal(linesOf(positionsOf(rows), bars(10), 6 * HOUR).filter(({ profit, kind }) => kind === "trade" && profit === null).length, 1);
});

test("a coarse candle that holds the cursor is made of the bars up to it", () => {
  const base = bars(12);
  const coarse: Bar[] = [0, 4, 8].map((row) => ({ time: row * HOUR, open: row, high: row + 5, low: row - 1, close: row + 4, volume: 40 }));
  const shown = candlesUpTo(coarse, base, 5 * HOUR);
  deepEqual(shown.at(-1), { time: 4 * HOUR, open: 4, high: 7, low: 3, close: 6, volume: 20 });
  equal(shown.length, 2);
  deepEqual(candlesUpTo(coarse, base, 7 * HOUR).at(-1), { time: 4 * HOUR, open: 4, high: 9, low: 3, close: 8, volume: 40 });
});

test("markers stand at the candle that holds them", () => {
  const coarse = bars(3, 4 * HOUR);
  deepEqual(markersOf(positionsOf([trade({})]), coarse, null).map(({ time }) => time), [0, 4 * HOUR]);
});
