// Several runs side by side: figures, equity in per cent on one axis, and where their specifications differ.
import { useMemo } from "preact/hooks";
import { type Curve, CurveChart } from "../chart/curve_chart";
import { FIGURES, FIGURE_GROUPS, words } from "../core/figures";
import { useLoad } from "../core/load";
import { place } from "../core/router";
import { numbers, times } from "../core/tables";
import type { Json, RunDetail, Table } from "../core/types";
import { Figure, Link, Shown, Time, isTime } from "../parts/shown";
import { useSource } from "../parts/source_of_page";
import { currencyOf, metricsOf } from "./run_figures";
import { Warnings } from "./run";

interface Compared {
  run: RunDetail;
  equity: Table | null;
}

const POINTS = 2_000;
/** Said of the run, not of what was asked. */
const NO_SPECIFICATION = new Set(["run_id", "created_at", "queued_at", "started_at", "finished_at", "status", "progress_pct", "error_message", "data_file_path", "request_id", "attempts", "result_digest", "duration_seconds", "engine_version", "warnings", "drawdowns", "missing"]);

export function CompareScreen() {
  const source = useSource();
  const ids = [...new Set((place.value.query.get("ids") ?? "").split(",").map(Number).filter((id) => Number.isInteger(id) && id > 0))];
  const load = useLoad(ids.length ? `compare ${ids}` : "", () =>
    Promise.all(
      ids.map(async (id): Promise<Compared> => {
        const run = await source.get<RunDetail>(`/backtest/${id}`);
        return { run, equity: run.status === "completed" ? await source.get<Table>(`/backtest/${id}/equity`, { max_points: POINTS }) : null };
      }),
    ),
  );
  return (
    <>
      <h1 tabIndex={-1}>Compare</h1>
      {ids.length ? <Shown load={load} what="the runs">{(runs) => <Comparison runs={runs} />}</Shown> : <p class="note">Choose two runs or more under Runs, then Compare.</p>}
    </>
  );
}

function Comparison({ runs }: { runs: readonly Compared[] }) {
  const curves = useMemo(() => onOneClock(runs.flatMap(({ run, equity }, index) => (equity ? [curveOf(run, equity, index)] : []))), [runs]);
  const metrics = runs.map(({ run }) => metricsOf(run));
  const differences = differing(runs.map(({ run }) => run));
  const head = (
    <thead>
      <tr>
        <th scope="col">Name</th>
        {runs.map(({ run }) => (
          <th key={run.run_id} scope="col" class="number">
            <Link to={`/runs/${run.run_id}/chart`}>Run {run.run_id}</Link>
          </th>
        ))}
      </tr>
    </thead>
  );
  return (
    <>
      {runs.filter(({ run }) => run.status === "completed" && (run.metrics?.warnings ?? []).length > 0).map(({ run }) => (
        <details key={run.run_id} class="run-warnings" open={runs.length < 4}>
          <summary>Warnings of run {run.run_id}</summary>
          <Warnings run={run} label={`Warnings of run ${run.run_id}`} />
        </details>
      ))}
      {curves.length > 0 && <CurveChart label="Equity" curves={curves} unit=" %" summary="Change of equity in per cent of each run's initial balance." />}
      <h2>Figures</h2>
      <div class="table-frame" tabIndex={0} role="group" aria-label="Figures, scrolls sideways">
        <table aria-label="Figures">
          {head}
          <tbody>
            {FIGURE_GROUPS.flatMap(([, figures]) => Object.keys(figures))
              .filter((name) => metrics.some((each) => name in each))
              .map((name) => (
                <tr key={name}>
                  <th scope="row">{FIGURES[name]?.label}</th>
                  {runs.map(({ run }, index) => (
                    <td key={run.run_id} class="number">
                      <Figure name={name} value={metrics[index]?.[name] as number | null | undefined} currency={currencyOf(run)} reason={metrics[index]?.null_reasons?.[name]} />
                    </td>
                  ))}
                </tr>
              ))}
          </tbody>
        </table>
      </div>
      <h2>Differences in specification</h2>
      {differences.length ? (
        <div class="table-frame" tabIndex={0} role="group" aria-label="Differences, scrolls sideways">
          <table aria-label="Differences">
            {head}
            <tbody>
              {differences.map(([name, values]) => (
                <tr key={name}>
                  <th scope="row">{words(name)}</th>
                  {values.map((value, index) => (
                    <td key={index} class="number told">
                      {value === undefined || value === null ? <span class="none">–</span> : typeof value === "object" ? JSON.stringify(value) : isTime(value) ? <Time at={value} /> : String(value)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <p class="note">They ask for the same.</p>
      )}
    </>
  );
}

/** Equity over the deposit, in per cent. */
function curveOf(run: RunDetail, table: Table, index: number): Curve {
  const deposit = run.initial_balance;
  return { name: `Run ${run.run_id}`, colour: `line-${(index % 6) + 1}`, time: times(table), value: numbers(table, "equity").map((value) => (value === null ? null : (value / deposit - 1) * 100)) };
}

/** The curves at the same moments, evenly apart, each as it stood then. The chart library gives every moment that occurs as
 * much room as any other: a run of one year would take as much of the axis as one of ten. */
export function onOneClock(curves: readonly Curve[], moments = 3_000): Curve[] {
  const first = Math.min(...curves.map(({ time }) => time[0] ?? Infinity));
  const last = Math.max(...curves.map(({ time }) => time.at(-1) ?? -Infinity));
  const step = Math.max(1, Math.ceil((last - first) / moments));
  return curves.map((curve) => {
    const [time, value]: [number[], (number | null)[]] = [[], []];
    const [begin, end] = [curve.time[0] ?? Infinity, curve.time.at(-1) ?? -Infinity];
    let row = 0;
    for (let at = first; at < last + step; at += step) {
      while (row + 1 < curve.time.length && (curve.time[row + 1] as number) <= at) row += 1;
      if (at < begin || at >= end + step) continue;
      time.push(at);
      value.push(curve.value[row] ?? null);
    }
    return { ...curve, time, value };
  });
}

/** Names of what was asked for that are not the same everywhere, with each run's value. */
export function differing(runs: readonly RunDetail[]): [string, (Json | undefined)[]][] {
  const asked = runs.map(specificationOf);
  const names = [...new Set(asked.flatMap((each) => Object.keys(each)))];
  return names.map((name): [string, (Json | undefined)[]] => [name, asked.map((each) => each[name])]).filter(([, values]) => new Set(values.map((value) => JSON.stringify(value ?? null))).size > 1);
}

function specificationOf(run: RunDetail): Record<string, Json | undefined> {
  const metrics = metricsOf(run);
  const row = Object.fromEntries(Object.entries(run).filter(([name, value]) => !NO_SPECIFICATION.has(name) && !(name in metrics) && (typeof value !== "object" || Array.isArray(value) || value === null)));
  const request = Object.fromEntries(Object.entries((run.request ?? {}) as Record<string, Json>).filter(([name]) => !NO_SPECIFICATION.has(name)));
  return { ...(row as Record<string, Json>), ...flat(request), data: (metrics.data_passport?.["digest"] as string | undefined) ?? null, strategy_version: (metrics["strategy_version"] as string | undefined) ?? null };
}

/** {"strategy_params": {"fast": 10}} -> {"strategy_params.fast": 10} */
function flat(values: Record<string, Json>, before = ""): Record<string, Json> {
  const told: Record<string, Json> = {};
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) Object.assign(told, flat(value, `${before}${name}.`));
    else told[before + name] = value;
  }
  return told;
}
