// A search: how much of its best is luck, first; then results, the heat map of any two parameters, and folds.
import { useState } from "preact/hooks";
import { api, apiAddress } from "../core/http_source";
import { FIGURES, figureText, words } from "../core/figures";
import { optimizationNews } from "../core/live";
import { useLoad } from "../core/load";
import { go, place, setQuery } from "../core/router";
import type { Json, Optimization, Page } from "../core/types";
import { type Choice, SelectField } from "../parts/fields";
import { scaleClass } from "../parts/heat";
import { Figure, Link, Progress, Shown, StatusWord, Time, Trouble, isAtWork } from "../parts/shown";
import { type Column, DataTable, sorted } from "../parts/tables";
import { newKey } from "./new_backtest";
import { searchWithNews } from "./optimizations";

type Params = Record<string, Json>;

interface Range {
  start: string;
  end: string;
}

interface Result {
  rank: number;
  params: Params;
  metrics: Record<string, number | null>;
}

const LOWER_IS_BETTER = new Set(["max_drawdown_pct", "longest_drawdown_days", "max_consec_losses", "ambiguous_bars"]);
const STATISTICS: readonly (readonly [string, string, string])[] = [
  ["deflated_sharpe", "Deflated Sharpe", "Probability that the best one's edge is above what the luckiest of so many trials would show."],
  ["probabilistic_sharpe", "Probabilistic Sharpe", "Probability that its Sharpe ratio is above 0, taken by itself."],
  ["expected_max_sharpe", "Expected best by luck", "Sharpe ratio a year of the best of so many trials without any edge."],
  ["pbo", "Probability of overfitting", "How often the best in one half of the days is below the middle in the other."],
  ["pbo_loss_share", "Loss out of sample", "How often the best in one half loses in the other."],
  ["spa_p", "SPA test, p", "How often the best of these would look as good if none had an edge."],
  ["trials", "Trials", "Combinations simulated here."],
  ["trials_known", "Trials known", "With earlier ones of the same strategy on the same data."],
  ["effective_trials", "Effective trials", "As many independent ones."],
];

export function OptimizationScreen({ id }: { id: number }) {
  const news = optimizationNews.value.get(id);
  const load = useLoad(`optimization ${id}`, async () => (await api.get<Optimization>(`/optimization/${id}`)).body, news?.status ?? "");
  return (
    <Shown load={load} what={`optimisation ${id}`}>
      {(row) => <View row={searchWithNews(row, news)} news={news} again={load.again} />}
    </Shown>
  );
}

function View({ row, news, again }: { row: Optimization; news: Record<string, unknown> | undefined; again: () => void }) {
  const [trouble, setTrouble] = useState<Error | null>(null);
  const id = row.optimization_id;
  const names = Object.keys(row.param_grid ?? {});
  const run = (params: Params, range: Range | null = null) => void runOf(row, params, range).then((run_id) => go(`/runs/${run_id}/chart`), setTrouble);
  const unit = FIGURES[row.optimize_metric]?.unit;
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Optimisation {id}</h1>
        <p class="status" role="status">
          <StatusWord status={row.status} />
        </p>
        {isAtWork(row.status) && <Progress percent={row.progress_pct} label={`Progress of optimisation ${id}`} />}
        {isAtWork(row.status) && (
          <button type="button" onClick={() => void api.post(`/optimization/${id}/cancel`, {}).then(again, setTrouble)}>
            Cancel
          </button>
        )}
      </div>
      <p class="subtitle">
        <Link to={`/strategies/${row.strategy_id}`}>{row.strategy_name ?? `Strategy ${row.strategy_id}`}</Link> on {row.symbol} {row.timeframe}, <Time at={row.start_date} /> to <Time at={row.end_date} /> (end excluded), {row.method}; {row.completed_combinations} of {row.total_combinations}{" "}
        combinations{row.failed_combinations ? `, ${row.failed_combinations} failed` : ""}
        {typeof news?.["eta_seconds"] === "number" && isAtWork(row.status) && `, about ${Math.ceil(news["eta_seconds"] as number)} s left`}
      </p>
      {trouble && <Trouble error={trouble} what="that" />}
      {row.error_message && (
        <section aria-label="Warnings" class="warnings">
          <p>{row.error_message}</p>
        </section>
      )}
      <Verdict row={row} />
      {row.status === "completed" && (
        <>
          <section aria-label="Best" class="card">
            <h2>{row.walk_forward ? "What came out" : "Best combination"}</h2>
            {row.walk_forward ? (
              <Joined row={row} />
            ) : row.best_params ? (
              <p>
                {paramsText(row.best_params)}: {words(row.optimize_metric)} <Figure name={row.optimize_metric} value={row.best_value} unit={unit} />
                {row.best_run_id !== null && (
                  <>
                    {" "}
                    – <Link to={`/runs/${row.best_run_id}/chart`}>Run {row.best_run_id}</Link>
                  </>
                )}
              </p>
            ) : (
              <p>None has the trades that were asked for at least, or a value of {words(row.optimize_metric)}.</p>
            )}
            {row.robust_params && <p>Most robust, with its neighbours: {paramsText(row.robust_params)}</p>}
          </section>
          {row.walk_forward && <Folds id={id} row={row} run={run} />}
          {!row.walk_forward && names.length >= 2 && <HeatMap row={row} names={names} run={run} />}
          {!row.walk_forward && <Results row={row} names={names} run={run} />}
          {!row.walk_forward && <Sensitivity row={row} />}
        </>
      )}
    </>
  );
}

/** Of a walk-forward: its figure is that of all test ranges, which were traded with the best of each training. */
function Joined({ row }: { row: Optimization }) {
  return (
    <>
      <p>
        {FIGURES[row.optimize_metric]?.label ?? words(row.optimize_metric)} of the joined test ranges: <Figure name={row.optimize_metric} value={row.best_value} unit={FIGURES[row.optimize_metric]?.unit} />
      </p>
      <p>{row.best_params ? `The last fold's best in training: ${paramsText(row.best_params)}` : "The last fold found nothing to trade with."}</p>
    </>
  );
}

/** In words, before the best figure. */
function Verdict({ row }: { row: Optimization }) {
  const statistics = row.statistics;
  if (!statistics) return null;
  const reasons = (statistics["null_reasons"] ?? {}) as Record<string, string>;
  const joined = statistics["walk_forward"] as Record<string, Json> | null | undefined;
  return (
    <section aria-label="Verdict" class="verdict">
      <h2>How much of it is luck</h2>
      <p class="verdict-words">{String(statistics["verdict"] ?? "")}</p>
      <dl class="key-figures">
        {STATISTICS.filter(([name]) => name in statistics).map(([name, label]) => (
          <div key={name}>
            <dt>{label}</dt>
            <dd>
              <Figure name={name} value={statistics[name] as number | null} reason={reasons[name]} unit={name === "effective_trials" ? undefined : /trials/.test(name) ? "count" : "ratio"} />
            </dd>
          </div>
        ))}
      </dl>
      <details>
        <summary>What these mean</summary>
        <dl class="facts">
          {STATISTICS.filter(([name]) => name in statistics).map(([name, label, meaning]) => (
            <div key={name}>
              <dt>{label}</dt>
              <dd>{meaning}</dd>
            </div>
          ))}
        </dl>
      </details>
      {joined && <p class="hint">The joined test ranges: {Object.entries(joined).filter(([name]) => name in FIGURES).slice(0, 6).map(([name, value]) => `${FIGURES[name]?.label} ${figureText(value as number | null, FIGURES[name]?.unit)}`).join(", ")}</p>}
    </section>
  );
}

function Results({ row, names, run }: { row: Optimization; names: readonly string[]; run: (params: Params) => void }) {
  const { query } = place.value;
  const sort = query.get("sort") ?? "rank";
  const load = useLoad(`results ${row.optimization_id}`, async () => (await api.get<Page<Result>>(`/optimization/${row.optimization_id}/results`, { limit: 100 })).body);
  const valueOf = (result: Result, name: string) => (name === "rank" ? result.rank : name.startsWith("param.") ? result.params[name.slice(6)] : result.metrics[name]);
  return (
    <>
      <h2>Results</h2>
      <Shown load={load} what="the results">
        {({ items }) => <DataTable label="Results" rows={sorted(items, sort, valueOf)} keyOf={({ rank }) => rank} columns={resultColumns(row, names, run)} sort={sort} onSort={(next) => setQuery({ sort: next }, false)} />}
      </Shown>
      <p class="hint">
        The best hundred. Every combination: <a href={apiAddress(`/optimization/${row.optimization_id}/results`, { format: "csv" })} download>CSV</a>, <a href={apiAddress(`/optimization/${row.optimization_id}/results`, { format: "parquet" })} download>Parquet</a>
      </p>
    </>
  );
}

function resultColumns(row: Optimization, names: readonly string[], run: (params: Params) => void): Column<Result>[] {
  const metrics = [...new Set([row.optimize_metric, "net_profit", "total_return_pct", "max_drawdown_pct", "sharpe_ratio", "profit_factor", "total_trades"])];
  return [
    { name: "rank", title: "Rank", sorts: true, isNumber: true, cell: ({ rank }) => rank },
    ...names.map((name): Column<Result> => ({ name: `param.${name}`, title: name, sorts: true, isNumber: true, cell: ({ params }) => valueText(params[name]) })),
    ...metrics.map((name): Column<Result> => ({ name, title: FIGURES[name]?.label ?? words(name), sorts: true, isNumber: true, cell: ({ metrics: own }) => <Figure name={name} value={own?.[name]} /> })),
    {
      name: "run",
      title: "Actions",
      isTitleUnseen: true,
      cell: ({ params }) => (
        <button type="button" title={`Run ${paramsText(params)}`} onClick={() => run(params)}>
          Run
        </button>
      ),
    },
  ];
}

/** values[i][j]: of y_values[i] and x_values[j]; null where no such combination was simulated, or it has none. */
interface HeatAnswer {
  metric: string;
  x_values: Json[];
  y_values: Json[];
  values: (number | null)[][];
  trades: (number | null)[][];
  /** The other parameters, as they are held; one that is not named is at its best in each cell. */
  fixed: Params;
}

function HeatMap({ row, names, run }: { row: Optimization; names: readonly string[]; run: (params: Params) => void }) {
  const { query } = place.value;
  const x = query.get("x") ?? (names[0] as string);
  const y = query.get("y") ?? (names.find((name) => name !== x) as string);
  const load = useLoad(`heat ${row.optimization_id} ${x} ${y}`, async () => (await api.get<HeatAnswer>(`/optimization/${row.optimization_id}/heatmap`, { x, y })).body);
  const choices = names.map((name): Choice => [name, name]);
  return (
    <>
      <h2>Heat map</h2>
      <div class="filters">
        <SelectField label="Across" value={x} choices={choices.filter(([name]) => name !== y)} onValue={(value) => setQuery({ x: value }, false)} />
        <SelectField label="Down" value={y} choices={choices.filter(([name]) => name !== x)} onValue={(value) => setQuery({ y: value }, false)} />
      </div>
      <p class="hint">
        {words(row.optimize_metric)}
        {names.length > 2 && ", the other parameters at their best"}; a click runs that combination.
      </p>
      <Shown load={load} what="the heat map">
        {(answer) => <HeatTable answer={answer} row={row} x={x} y={y} run={run} />}
      </Shown>
    </>
  );
}

function HeatTable({ answer, row, x, y, run }: { answer: HeatAnswer; row: Optimization; x: string; y: string; run: (params: Params) => void }) {
  const values = answer.values.flat().filter((value): value is number => typeof value === "number");
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const unit = FIGURES[row.optimize_metric]?.unit;
  const isWhole = Object.keys(row.param_grid).every((name) => name === x || name === y || name in answer.fixed);
  return (
    <>
      {Object.keys(answer.fixed).length > 0 && <p class="hint">With {paramsText(answer.fixed)}.</p>}
      <div class="table-frame" tabIndex={0} role="group" aria-label="Heat map, scrolls sideways">
        <table aria-label="Heat map" class="heat">
          <thead>
            <tr>
              <th scope="col">
                {y} ↓ {x} →
              </th>
              {answer.x_values.map((value) => (
                <th key={valueText(value)} scope="col" class="number">
                  {valueText(value)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {answer.y_values.map((rowValue, down) => (
              <tr key={valueText(rowValue)}>
                <th scope="row">{valueText(rowValue)}</th>
                {answer.x_values.map((value, across) => {
                  const found = answer.values[down]?.[across] ?? null;
                  const trades = answer.trades[down]?.[across];
                  const params = { ...answer.fixed, [x]: value, [y]: rowValue };
                  const figure = <Figure name={row.optimize_metric} value={found} unit={unit} />;
                  return (
                    <td key={valueText(value)} class={`number ${scaleClass(found, least, most, !LOWER_IS_BETTER.has(row.optimize_metric))}`}>
                      {isWhole && (found !== null || typeof trades === "number") ? (
                        <button type="button" class="cell" title={`Run ${paramsText(params)}${typeof trades === "number" ? `: ${trades} trades` : ""}`} onClick={() => run(params)}>
                          {figure}
                        </button>
                      ) : (
                        figure
                      )}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Sensitivity({ row }: { row: Optimization }) {
  const shares = row.statistics?.["parameter_sensitivity"] as Record<string, number | null> | null | undefined;
  if (!shares || !Object.keys(shares).length) return null;
  return (
    <>
      <h2>Which parameter matters</h2>
      <DataTable
        label="Sensitivity"
        rows={Object.entries(shares)}
        keyOf={([name]) => name}
        columns={[
          { name: "name", title: "Parameter", cell: ([name]) => name },
          { name: "share", title: `Share of the differences in ${words(row.optimize_metric)} it explains`, isNumber: true, cell: ([, share]) => figureText(share, "fraction") },
        ]}
      />
    </>
  );
}

interface Fold {
  fold: number;
  train_start: string;
  train_end: string;
  test_start: string;
  test_end: string;
  params: Params | null;
  train_value: number | null;
  test_value: number | null;
}

function Folds({ id, row, run }: { id: number; row: Optimization; run: (params: Params, range: Range) => void }) {
  const load = useLoad(`folds ${id}`, async () => {
    return (await api.get<Page<Fold>>(`/optimization/${id}/folds`)).body.items;
  });
  const unit = FIGURES[row.optimize_metric]?.unit;
  return (
    <>
      <h2>Folds</h2>
      <Shown load={load} what="the folds">
        {(folds) => (
          <DataTable
            label="Folds"
            rows={folds}
            keyOf={({ fold }) => fold}
            columns={[
              { name: "fold", title: "Fold", isNumber: true, cell: ({ fold }) => fold },
              { name: "train", title: "Trained on", cell: (each) => <Between from={each.train_start} to={each.train_end} /> },
              { name: "test", title: "Tested on", cell: (each) => <Between from={each.test_start} to={each.test_end} /> },
              { name: "params", title: "Best in training", cell: ({ params }) => (params ? paramsText(params) : "none: not traded") },
              { name: "train_value", title: `${words(row.optimize_metric)}, training`, isNumber: true, cell: ({ train_value }) => <Figure name={row.optimize_metric} metric={`train.${row.optimize_metric}`} value={train_value} unit={unit} /> },
              { name: "test_value", title: `${words(row.optimize_metric)}, test`, isNumber: true, cell: ({ test_value }) => <Figure name={row.optimize_metric} metric={`test.${row.optimize_metric}`} value={test_value} unit={unit} /> },
              {
                name: "run",
                title: "Actions",
                isTitleUnseen: true,
                cell: ({ params, test_start, test_end }) =>
                  params && (
                    <button type="button" title={`Run ${paramsText(params)} over the test range`} onClick={() => run(params, { start: test_start, end: test_end })}>
                      Run
                    </button>
                  ),
              },
            ]}
          />
        )}
      </Shown>
    </>
  );
}

function Between({ from, to }: { from: string; to: string }) {
  return (
    <span class="nowrap">
      <Time at={from} /> – <Time at={to} />
    </span>
  );
}

export function paramsText(params: Params): string {
  return Object.entries(params).map(([name, value]) => `${name} ${valueText(value)}`).join(", ");
}

function valueText(value: Json | undefined): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value ?? "–");
}

const OF_BOTH = ["initial_balance", "spread_pips", "execution_mode", "commission_per_lot", "tp_partial_close_ratio", "volume", "risk_pct"] as const;

/** Asks for a run of one combination, with what the search held fast, over its range or a fold's. */
async function runOf(row: Optimization, params: Params, range: Range | null): Promise<number> {
  if (!range && row.best_run_id !== null && row.best_params && JSON.stringify(row.best_params) === JSON.stringify(params)) return row.best_run_id;
  const isRules = row["strategy_key"] === "rules";
  const asked = (row["request"] ?? {}) as Record<string, Json>;
  const fixed = (asked["strategy_params"] ?? {}) as Record<string, Json>;
  const merged = isRules ? { ...fixed, params: { ...((fixed["params"] ?? {}) as Params), ...params } } : { ...fixed, ...params };
  const more = Object.fromEntries(["on_opposite", "stop_to_entry", "account_currency", "spread_source", "slippage_pips", "commission_pct", "leverage", "stop_out_pct"].filter((name) => asked[name] !== undefined && asked[name] !== null).map((name) => [name, asked[name]]));
  const columns = Object.fromEntries(OF_BOTH.filter((name) => row[name] !== undefined && row[name] !== null).map((name) => [name, row[name]]));
  const context = Array.isArray(row["context_tfs"]) ? { context_tfs: row["context_tfs"] as Json } : {};
  const body = { strategy_id: row.strategy_id, symbol: row.symbol, timeframe: row.timeframe, start_date: range?.start ?? row.start_date, end_date: range?.end ?? row.end_date, ...columns, ...context, ...more, strategy_params: merged };
  return (await api.post<{ run_id: number }>("/backtest", body, { "Idempotency-Key": newKey() })).body.run_id;
}
