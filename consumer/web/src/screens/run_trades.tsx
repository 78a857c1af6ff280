// Trades: filter, order, and a click that leads to the chart.
import { figureText, priceText, digitsOf, words } from "../core/figures";
import type { Loaded } from "../core/load";
import { go, place, setQuery } from "../core/router";
import type { RunDetail, Trade } from "../core/types";
import { zoneLabel } from "../core/zones";
import { type Choice, SelectField } from "../parts/fields";
import { Link, Shown, Time } from "../parts/shown";
import { type Column, DataTable, Pager } from "../parts/tables";
import { currencyOf } from "./run_figures";
import { shownTrades, viewOf } from "./trade_list";

const PAGE = 100;

export function TradesTab({ run, trades }: { run: RunDetail; trades: Loaded<readonly Trade[]> }) {
  return (
    <Shown load={trades} what="the trades">
      {(rows) => <Trades run={run} rows={rows} />}
    </Shown>
  );
}

function Trades({ run, rows }: { run: RunDetail; rows: readonly Trade[] }) {
  const { query } = place.value;
  const view = viewOf(query);
  const shown = shownTrades(rows, view);
  const pages = Math.max(1, Math.ceil(shown.length / PAGE));
  const page = Math.min(pages - 1, Math.max(0, Number(query.get("page") ?? "1") - 1 || 0));
  const selected = Number(query.get("trade")) || null;
  const net = shown.reduce((sum, { profit }) => sum + profit, 0);
  const currency = currencyOf(run);
  const filter = (name: string, label: string, choices: readonly Choice[]) => (
    <SelectField label={label} value={query.get(name) ?? ""} choices={[["", "any"], ...choices]} onValue={(value) => setQuery({ [name]: value, page: null }, false)} />
  );
  const among = (name: string): Choice[] => [...new Set(rows.map((row) => row[name]).filter((value): value is string => typeof value === "string" && value !== ""))].sort().map((value) => [value, words(value)]);
  return (
    <>
      <div class="filters">
        {filter("direction", "Direction", [["BUY", "BUY (long)"], ["SELL", "SELL (short)"]])}
        {filter("exit_reason", "Exit reason", among("exit_reason"))}
        {filter("outcome", "Outcome", [["win", "win"], ["loss", "loss"], ["break_even", "break-even"]])}
        {among("pattern_name").length > 0 && filter("pattern_name", "Pattern", among("pattern_name"))}
      </div>
      <p class="hint">
        {shown.length} of {rows.length} exits, profit together {figureText(net, "money", currency)}. Money{currency && ` in ${currency}`}, volume in lots, times in {zoneLabel.value}: the open of the bar of the fill.
      </p>
      <DataTable
        label="Trades"
        columns={columns(run, rows)}
        rows={shown.slice(page * PAGE, (page + 1) * PAGE)}
        keyOf={(row) => (row["trade"] as number | undefined) ?? `${row.position_id} ${row.exit_time} ${row.exit_price} ${row.equity_after}`}
        sort={view.sort}
        onSort={(sort) => setQuery({ sort, page: null }, false)}
        rowClass={(row) => (row.position_id === selected ? "selected" : "")}
        onRow={(row) => go(chartOf(run, row))}
        empty={rows.length ? "No trade fits the filter." : "The run made no trade."}
      />
      <Pager page={page} pages={pages} what="trades" onPage={(next) => setQuery({ page: next + 1 }, false)} />
    </>
  );
}

function columns(run: RunDetail, rows: readonly Trade[]): Column<Trade>[] {
  const digits = digitsOf(rows.slice(0, 100).flatMap((row) => [row.entry_price, row.exit_price]));
  const number = (name: string, title: string, text: (row: Trade) => string, look?: (row: Trade) => string): Column<Trade> => ({ name, title, sorts: true, isNumber: true, cell: (row) => <span class={look?.(row)}>{text(row)}</span> });
  const money = (name: string, title: string) => number(name, title, (row) => figureText(row[name] as number | null | undefined, "money"), (row) => ((row[name] as number) < 0 ? "negative" : ""));
  return [
    { name: "position_id", title: "Trade", sorts: true, isNumber: true, cell: (row) => <Link to={chartOf(run, row)} label={`Trade ${row.position_id} on the chart`}>{row.position_id}</Link> },
    { name: "direction", title: "Direction", sorts: true, cell: (row) => <span class={row.direction === "BUY" ? "buy" : "sell"}>{row.direction}</span> },
    { name: "entry_time", title: "Entry", sorts: true, cell: (row) => <Time at={row.entry_time} /> },
    { name: "exit_time", title: "Exit", sorts: true, cell: (row) => <Time at={row.exit_time} /> },
    number("entry_price", "Entry price", (row) => priceText(row.entry_price, digits)),
    number("exit_price", "Exit price", (row) => priceText(row.exit_price, digits)),
    number("volume", "Volume", (row) => String(row.volume)),
    money("profit", "Profit"),
    { name: "exit_reason", title: "Exit reason", sorts: true, cell: (row) => words(row.exit_reason) },
    money("mae", "MAE"),
    money("mfe", "MFE"),
    number("r", "R", (row) => figureText(row.r, "ratio")),
    money("equity_after", "Balance after"),
    ...(rows.some((row) => row.pattern_name) ? [{ name: "pattern_name", title: "Pattern", sorts: true, cell: (row: Trade) => row.pattern_name ?? "" }] : []),
  ];
}

/** The chart at that trade, with this table's filter and order. */
function chartOf(run: RunDetail, row: Trade): string {
  const query = new URLSearchParams(place.peek().query);
  for (const name of ["at", "span", "replay", "page"]) query.delete(name);
  query.set("trade", String(row.position_id));
  return `/runs/${run.run_id}/chart?${query}`;
}

