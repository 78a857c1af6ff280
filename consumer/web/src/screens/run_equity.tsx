// What became of the money: equity beside buy and hold, drawdown, and its ten deepest stretches.
import { useMemo } from "preact/hooks";
import { type Curve, CurveChart } from "../chart/curve_chart";
import { figureText } from "../core/figures";
import { useLoad } from "../core/load";
import { numbers, times } from "../core/tables";
import type { Drawdown, RunDetail, Table } from "../core/types";
import { zoneLabel } from "../core/zones";
import { Shown, Time } from "../parts/shown";
import { useSource } from "../parts/source_of_page";
import { DataTable } from "../parts/tables";
import { currencyOf, metricsOf } from "./run_figures";

const POINTS = 4_000;

export function EquityTab({ run }: { run: RunDetail }) {
  const source = useSource();
  const [equity, drawdown] = ["equity", "drawdown"].map((part) => useLoad(`${part} ${run.run_id}`, () => source.get<Table>(`/backtest/${run.run_id}/${part}`, { max_points: POINTS }))) as [ReturnType<typeof useLoad<Table>>, ReturnType<typeof useLoad<Table>>];
  const currency = currencyOf(run);
  const unit = currency && ` ${currency}`;
  const metrics = metricsOf(run);
  const equityCurves = useMemo(() => equity.value && curvesOf(equity.value), [equity.value]);
  const drawdownCurves = useMemo(() => drawdown.value && [fall(drawdown.value)], [drawdown.value]);
  const deepest = run.drawdowns ?? (metrics["drawdowns"] as unknown as Drawdown[] | undefined) ?? (drawdown.value?.["deepest"] as Drawdown[] | undefined) ?? [];
  return (
    <>
      <Shown load={equity} what="the equity">
        {() => equityCurves && <CurveChart label="Equity" curves={equityCurves} unit={unit} summary={`From ${figureText(run.initial_balance, "money", currency)} to ${figureText(metrics["final_equity"] as number | null, "money", currency)}, marked to market at each close.`} />}
      </Shown>
      <Shown load={drawdown} what="the drawdown">
        {() => drawdownCurves && <CurveChart small label="Drawdown" curves={drawdownCurves} unit=" %" summary={`Below the last peak, in per cent of it; at most ${figureText(metrics["max_drawdown_pct"] as number | null, "percent")}.`} />}
      </Shown>
      <h2>Deepest drawdowns</h2>
      <p class="hint">Times in {zoneLabel.value}</p>
      <DataTable
        label="Deepest drawdowns"
        keyOf={(each) => each.peak + each.trough}
        rows={deepest}
        empty="Equity never fell below a peak."
        columns={[
          { name: "percent", title: "Depth", isNumber: true, cell: (each) => figureText(each.percent, "percent") },
          { name: "amount", title: `Money${currency && `, ${currency}`}`, isNumber: true, cell: (each) => figureText(each.amount, "money") },
          { name: "peak", title: "Peak", cell: (each) => <Time at={each.peak} /> },
          { name: "trough", title: "Trough", cell: (each) => <Time at={each.trough} /> },
          { name: "recovered", title: "Recovered", cell: (each) => (each.recovered ? <Time at={each.recovered} /> : "not by the end") },
        ]}
      />
    </>
  );
}

function curvesOf(table: Table): Curve[] {
  const time = times(table);
  const curve = (name: string, title: string, look: string): Curve => ({ name: title, colour: look, time, value: numbers(table, name) });
  const wanted: [string, string, string][] = [
    ["buy_and_hold", "Buy and hold", "line-5"],
    ["balance", "Balance", "line-3"],
    ["equity", "Equity", "line-1"],
  ];
  return wanted.filter(([name]) => table.columns.includes(name)).map(([name, title, look]) => curve(name, title, look));
}

function fall(table: Table): Curve {
  return { name: "Drawdown", colour: "loss", time: times(table), value: numbers(table, "drawdown_pct").map((value) => (value === null ? null : -value)), isArea: true };
}
