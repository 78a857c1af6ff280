// Searches: what runs, what came out.
import { useState } from "preact/hooks";
import { api } from "../core/http_source";
import { FIGURES, figureText, words } from "../core/figures";
import { type News, changes, optimizationNews } from "../core/live";
import { useLoad } from "../core/load";
import { place, setQuery } from "../core/router";
import type { Optimization, Page } from "../core/types";
import { zoneLabel } from "../core/zones";
import { Link, Progress, Shown, StatusWord, Time, Trouble, isAtWork } from "../parts/shown";
import { DataTable } from "../parts/tables";
import { useSettled } from "./runs";

const PAGE = 100;

export function OptimizationsScreen() {
  const cursor = place.value.query.get("cursor");
  const version = useSettled(changes.value, 400);
  const load = useLoad(`optimizations ${cursor ?? ""}`, async () => (await api.get<Page<Optimization>>("/optimization", { limit: PAGE, cursor })).body, version);
  const [trouble, setTrouble] = useState<Error | null>(null);
  const cancel = (id: number) => void api.post(`/optimization/${id}/cancel`, {}).then(() => setTrouble(null), setTrouble).then(load.again);
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Optimisations</h1>
        <p class="hint">Times in {zoneLabel.value}</p>
        <Link to="/optimizations/new" class="button">
          New optimisation
        </Link>
      </div>
      {trouble && <Trouble error={trouble} what="that" />}
      <Shown load={load} what="the optimisations">
        {({ items, next_cursor }) => (
          <>
            <DataTable
              label="Optimisations"
              rows={items.map((row) => searchWithNews(row, optimizationNews.value.get(row.optimization_id)))}
              keyOf={({ optimization_id }) => optimization_id}
              empty="No optimisation yet."
              columns={[
                { name: "id", title: "Optimisation", cell: (row) => <Link to={`/optimizations/${row.optimization_id}`}>Optimisation {row.optimization_id}</Link> },
                { name: "strategy", title: "Strategy", cell: (row) => row.strategy_name ?? `strategy ${row.strategy_id}` },
                { name: "symbol", title: "Symbol", cell: (row) => `${row.symbol} ${row.timeframe}` },
                { name: "method", title: "Method", cell: (row) => row.method + (row.walk_forward ? ", walk-forward" : "") },
                {
                  name: "status",
                  title: "Status",
                  cell: (row) =>
                    isAtWork(row.status) ? (
                      <span class="work">
                        <StatusWord status={row.status} />
                        <Progress percent={row.progress_pct} label={`Progress of optimisation ${row.optimization_id}`} />
                      </span>
                    ) : (
                      <StatusWord status={row.status} />
                    ),
                },
                { name: "combinations", title: "Combinations", isNumber: true, cell: (row) => `${row.completed_combinations} of ${row.total_combinations}` },
                { name: "best", title: "Best", isNumber: true, cell: (row) => (row.best_value === null || row.best_value === undefined ? <span class="none">–</span> : `${words(row.optimize_metric)} ${figureText(row.best_value, FIGURES[row.optimize_metric]?.unit)}`) },
                { name: "created_at", title: "Asked for", cell: (row) => <Time at={row.created_at} /> },
                {
                  name: "actions",
                  title: "Actions",
                  isTitleUnseen: true,
                  cell: (row) =>
                    isAtWork(row.status) && (
                      <button type="button" title={`Cancel optimisation ${row.optimization_id}`} onClick={() => cancel(row.optimization_id)}>
                        Cancel
                      </button>
                    ),
                },
              ]}
            />
            {next_cursor && (
              <div class="pager">
                <button type="button" onClick={() => setQuery({ cursor: next_cursor }, false)}>
                  Next {PAGE} optimisations
                </button>
              </div>
            )}
          </>
        )}
      </Shown>
    </>
  );
}

export function searchWithNews(row: Optimization, news: News | undefined): Optimization {
  if (!news || !isAtWork(row.status) || news.status === "rejected") return row;
  const number = (name: string, otherwise: number) => (typeof news[name] === "number" ? news[name] : otherwise);
  return {
    ...row,
    status: news.status as Optimization["status"],
    progress_pct: Math.max(row.progress_pct, news.progress_pct),
    completed_combinations: number("combinations_done", row.completed_combinations),
    total_combinations: number("combinations_total", row.total_combinations),
  };
}
