// Trades in groups: which of them earn the money.
import { figureText, words } from "../core/figures";
import { useLoad } from "../core/load";
import { place, setQuery } from "../core/router";
import type { RunDetail } from "../core/types";
import { type Choice, SelectField } from "../parts/fields";
import { Shown } from "../parts/shown";
import { useSource } from "../parts/source_of_page";
import { type Column, DataTable, sorted } from "../parts/tables";
import { currencyOf } from "./run_figures";

const GROUPINGS = ["direction", "exit_reason", "pattern_name", "hour", "weekday", "month", "source", "holding_time"] as const;
const CLOCKS = new Set(["hour", "weekday", "month"]);
const ZONES: readonly Choice[] = [["UTC", "UTC"], ["America/New_York", "New York"], ["Europe/London", "London"], ["Asia/Tokyo", "Tokyo"]];

interface Group {
  trades: number;
  net: number;
  win_rate: number | null;
  profit_factor: number | null;
  expectancy: number | null;
  few?: boolean;
  [name: string]: unknown;
}

interface Answer {
  by: string | string[];
  groups: Group[];
}

export function AnalyticsTab({ run }: { run: RunDetail }) {
  const source = useSource();
  const { query } = place.value;
  const first = query.get("by") ?? "direction";
  const second = query.get("and") ?? "";
  const tz = query.get("tz") ?? "UTC";
  const by = second && second !== first ? `${first},${second}` : first;
  const usesClock = by.split(",").some((name) => CLOCKS.has(name)) && !source.embedded;
  const load = useLoad(`analytics ${run.run_id} ${by} ${usesClock ? tz : ""}`, () => source.get<Answer>(`/backtest/${run.run_id}/analytics`, { by, tz: usesClock ? tz : null }));
  const currency = currencyOf(run);
  const names = by.split(",");
  const sort = query.get("order") ?? "";
  const choices = GROUPINGS.map((name): Choice => [name, words(name)]);
  return (
    <>
      <div class="filters">
        <SelectField label="Group by" value={first} choices={choices} onValue={(value) => setQuery({ by: value }, false)} />
        {!source.embedded && <SelectField label="And by" value={second} choices={[["", "nothing else"], ...choices.filter(([name]) => name !== first)]} onValue={(value) => setQuery({ and: value }, false)} />}
        {usesClock && <SelectField label="Clock of the groups" value={tz} choices={ZONES} onValue={(value) => setQuery({ tz: value }, false)} />}
      </div>
      <p class="hint">
        Positions, not exits: one with several exits counts once. {usesClock || names.some((name) => CLOCKS.has(name)) ? `Times are those of entry, in ${usesClock ? tz : "UTC"}.` : ""} Money{currency && ` in ${currency}`}.
      </p>
      <Shown load={load} what="the groups">
        {({ groups }) => (
          <DataTable
            label="Analytics"
            rows={sorted(groups, sort, (group, name) => group[name])}
            keyOf={(group) => names.map((name) => String(group[name])).join(" ")}
            sort={sort}
            onSort={(order) => setQuery({ order }, false)}
            columns={columns(names)}
            empty="No trades."
          />
        )}
      </Shown>
    </>
  );
}

function columns(names: readonly string[]): Column<Group>[] {
  return [
    ...names.map((name): Column<Group> => ({ name, title: words(name), sorts: true, cell: (group) => groupText(name, group[name]) })),
    { name: "trades", title: "Trades", sorts: true, isNumber: true, cell: (group) => group.trades },
    { name: "net", title: "Net profit", sorts: true, isNumber: true, cell: (group) => <span class={group.net < 0 ? "negative" : ""}>{figureText(group.net, "money")}</span> },
    { name: "win_rate", title: "Win rate", sorts: true, isNumber: true, cell: (group) => figureText(group.win_rate, "fraction") },
    { name: "profit_factor", title: "Profit factor", sorts: true, isNumber: true, cell: (group) => figureText(group.profit_factor, "ratio") },
    { name: "expectancy", title: "Expectancy", sorts: true, isNumber: true, cell: (group) => figureText(group.expectancy, "money") },
    { name: "few", title: "Note", isTitleUnseen: true, cell: (group) => (group.few ? <span class="badge few">few: says little</span> : "") },
  ];
}

const WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

function groupText(name: string, value: unknown): string {
  if (value === null || value === undefined || value === "") return "none";
  if (name === "weekday" && typeof value === "number") return WEEKDAYS[value] ?? String(value);
  if (name === "hour") return `${String(value).padStart(2, "0")}:00`;
  return words(String(value));
}
