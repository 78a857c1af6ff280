import { test } from "node:test";
import { deepEqual, equal, rejects } from "node:assert/strict";
import { timeframeOfName, timeframeOfText } from "../src/core/bar_files";
import { embeddedSource } from "../src/core/embedded_source";
import { figureText } from "../src/core/figures";
import { unpacked } from "../src/core/packed";
import { parametersOf, typed, valueOf } from "../src/core/schema";
import { EventReader } from "../src/core/sse";
import { rowsOf } from "../src/core/tables";
import { coarserOrEqual } from "../src/core/timeframes";
import { clockOf, parts, typedTime } from "../src/core/zones";
import type { Table } from "../src/core/types";
import { sorted } from "../src/parts/tables";
import { onOneClock } from "../src/screens/compare";
import { fittingZone } from "../src/screens/data_files";
import { spaceOf } from "../src/screens/new_optimization";
import { jsonError, placeOf } from "../src/screens/rules_document";
import { patchOf } from "../src/screens/strategy";
import { outcomeOf, shownTrades, viewOf } from "../src/screens/trade_list";
import type { Trade } from "../src/core/types";

test("curves that are compared take as much room as their time, however many points they have", () => {
  const long = { name: "long", colour: "line-1", time: [0, 1000], value: [1, 2] };
  const short = { name: "short", colour: "line-2", time: [500, 510, 520, 530, 600], value: [1, 2, 3, 4, 5] };
  const [first, second] = onOneClock([long, short], 10);
  deepEqual(first?.time, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
  deepEqual(first?.value, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
  deepEqual(second?.time, [500, 600]);
  deepEqual(second?.value, [1, 5]);
});

test("zone that the server found to fit is read from its words", () => {
  equal(fittingZone(["mine.csv: 3 bars are missing", "read as UTC, ...; America/New_York+7 (the clock of most MetaTrader servers) fits; Europe/Athens fits as well: timezone=America/New_York%2B7 (--bars-timezone America/New_York+7), with replace=true (--replace)"]), "America/New_York+7");
  equal(fittingZone(["3 bars are missing"]), null);
});

test("events that come in pieces are whole when they are given, and comments are none", () => {
  const reader = new EventReader();
  deepEqual(reader.read(": hello\n\nid: 3\nevent: prog"), []);
  deepEqual(reader.read('ress\ndata: {"a":\ndata: 1}\n\n'), [{ event: "progress", data: '{"a":\n1}', id: "3" }]);
});

test("packed columns give every value back", () => {
  deepEqual(unpacked({ scale: 100000, deltas: [113254, 12, -7] }), [1.13254, 1.13266, 1.13259]);
  deepEqual(unpacked([1, null]), [1, null]);
});

test("nothing with a sign rounds to minus zero, and what is not there is no number", () => {
  equal(figureText(-0.001, "money", "USD"), "0.00 USD");
  equal(figureText(-1234.5, "money", "USD"), "-1,234.50 USD");
  equal(figureText(0.35, "fraction"), "35.00 %");
  equal(figureText(null, "money"), "–");
});

test("a time is read as it is typed, in UTC without an offset", () => {
  equal(typedTime("2019-01-31"), Date.UTC(2019, 0, 31) / 1000);
  equal(typedTime("2019-01-31 14:05"), Date.UTC(2019, 0, 31, 14, 5) / 1000);
  equal(typedTime("2019-01-31T14:05:00+02:00"), Date.UTC(2019, 0, 31, 12, 5) / 1000);
  equal(typedTime("1548943500"), 1548943500);
  equal(typedTime("31.1.2019"), null);
});

test("MetaTrader's zone is New York's clock and seven hours", () => {
  deepEqual(parts(Date.UTC(2019, 0, 31, 22, 0) / 1000, clockOf("data", "America/New_York+7")).slice(0, 2), ["2019-02-01", "00:00"]);
  deepEqual(parts(Date.UTC(2019, 0, 31, 22, 0) / 1000, clockOf("new_york", null)).slice(0, 2), ["2019-01-31", "17:00"]);
  deepEqual(clockOf("data", "No/Where"), { name: "UTC", hours: 0 });
});

test("a file tells its timeframe by its times, else by its name", () => {
  equal(timeframeOfText("time,open\n2019-01-01 00:00,1\n2019-01-01 00:15,1\n2019-01-01 00:30,1"), "M15");
  equal(timeframeOfText("2019.01.02,00:00,1,1\n2019.01.02,01:00,1,1"), "H1");
  equal(timeframeOfText("01.02.2019 00:00:00.000,1\n01.02.2019 04:00:00.000,1"), "H4");
  equal(timeframeOfText("1548943500000,1\n1548943560000,1"), "M1");
  equal(timeframeOfText("nothing"), null);
  deepEqual(["EURUSD_H1.csv", "EURUSDM15.csv", "EURUSD60.csv", "eurusd-d1.parquet", "bars.csv"].map(timeframeOfName), ["H1", "M15", "H1", "D1", null]);
});

test("a chart has only timeframes that whole bars of the run fill", () => {
  deepEqual(coarserOrEqual("H4"), ["H4", "H8", "H12", "D1", "W1", "MN1"]);
  deepEqual(coarserOrEqual("W1"), ["W1"]);
});

test("nulls are last, whichever way a table is sorted", () => {
  const rows = [{ v: 2 }, { v: null }, { v: 3 }, { v: 1 }];
  deepEqual(sorted(rows, "v", (row) => row.v).map(({ v }) => v), [1, 2, 3, null]);
  deepEqual(sorted(rows, "-v", (row) => row.v).map(({ v }) => v), [3, 2, 1, null]);
});

test("trades are filtered and sorted by the words of the address", () => {
  const rows = [{ profit: 1, direction: "BUY" }, { profit: -1, direction: "BUY" }, { profit: 0, direction: "SELL" }] as Trade[];
  deepEqual(shownTrades(rows, viewOf(new URLSearchParams("direction=BUY&sort=profit"))).map(({ profit }) => profit), [-1, 1]);
  deepEqual(rows.map(outcomeOf), ["win", "loss", "break_even"]);
});

test("a parameter's field takes what its schema says, and sends what cannot be read as it is", () => {
  const [fast, patterns, stop] = parametersOf({
    key: "x",
    params: { properties: { fast: { type: "integer", default: 10, minimum: 1 }, patterns: { type: "array", items: { type: "string" } }, stop: { anyOf: [{ type: "number" }, { type: "null" }], default: null } } },
  });
  if (!fast || !patterns || !stop) throw new Error("three are there");
  equal(valueOf("12", fast), 12);
  equal(valueOf("many", fast), "many");
  deepEqual(valueOf("engulfing, doji", patterns), ["engulfing", "doji"]);
  equal(valueOf("1.5", stop), 1.5);
  equal(typed(stop.standard), "");
  equal(fast.hint, "from 1; default 10");
});

test("a space is a list, a range with both ends or an interval", () => {
  deepEqual(spaceOf("5, 10"), [5, 10]);
  deepEqual(spaceOf("10 to 50 step 5"), { from: 10, to: 50, step: 5 });
  deepEqual(spaceOf("1.0 to 4.0 log"), { low: 1, high: 4, log: true });
  deepEqual(spaceOf("5 to 500"), { low: 5, high: 500, int: true });
});

test("a mistake in rules has its line and column", () => {
  const text = '{\n  "indicators": {"f": "sma(close, 3)"},\n  "buy": "close > slo"\n}';
  deepEqual(placeOf(text, { field: "strategy_params.buy", code: "invalid_params", message: "column 9: unknown name 'slo'" }), { line: 3, column: 19 });
  deepEqual(placeOf(text, { field: "strategy_params.indicators.f", code: "invalid_params", message: "column 1: no" }), { line: 2, column: 24 });
  equal(jsonError('{"buy": }')?.message.startsWith("not JSON"), true);
  equal(jsonError("{}"), null);
});

test("a merge patch takes away what is gone", () => {
  deepEqual(patchOf({ a: { x: 1, y: 2 } }, { a: { x: 3 } }), { a: { x: 3, y: null } });
});

test("a report gives coarse candles made of its own bars", async () => {
  const candles: Table & { timeframe: string } = { columns: ["time", "open", "high", "low", "close"], timeframe: "H1", time: [0, 3600, 7200], open: [1, 2, 3], high: [5, 9, 6], low: [0, 1, 2], close: [2, 3, 4] };
  const source = embeddedSource({ run: { run_id: 7 }, candles, timeframes: { H2: { scale: 1, deltas: [0, 7200] } }, trades: { columns: ["position_id"], position_id: [1, 2] } });
  deepEqual(rowsOf(await source.get<Table>("/backtest/7/candles", { timeframe: "H2" })), [
    { time: 0, open: 1, high: 9, low: 0, close: 3, volume: null },
    { time: 7200, open: 3, high: 6, low: 2, close: 4, volume: null },
  ]);
  deepEqual((await source.get<{ items: unknown[] }>("/backtest/7/trades")).items, [{ position_id: 1 }, { position_id: 2 }]);
  await rejects(source.get("/backtest/7/equity"), /does not contain/);
});
