// Runs: a live table, a hundred a page.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../core/http_source";
import { type News, changes, runNews } from "../core/live";
import { later } from "../core/later";
import { useLoad } from "../core/load";
import { go, place, setQuery } from "../core/router";
import type { Page, Run } from "../core/types";
import { zoneLabel } from "../core/zones";
import { type Choice, SelectField, TextField } from "../parts/fields";
import { Figure, Link, Progress, Shown, StatusWord, Time, Trouble, isAtWork } from "../parts/shown";
import { type Column, DataTable } from "../parts/tables";

const PAGE = 100;
const STATUSES: readonly Choice[] = [["", "any"], ...["pending", "running", "completed", "failed", "cancelled"].map((name): Choice => [name, name])];
/** Lists change with every run that ends; a busy server is not asked more often than this. */
const CHANGE_PAUSE_MS = 400;

export function RunsScreen() {
  const { query } = place.value;
  const [q, status, sort, cursor] = [query.get("q") ?? "", query.get("status") ?? "", query.get("sort") ?? "-created_at", query.get("cursor")];
  const version = useSettled(changes.value, CHANGE_PAUSE_MS);
  const load = useLoad(JSON.stringify([q, status, sort, cursor]), async () => (await api.get<Page<Run>>("/backtest", { q, status, sort, cursor, limit: PAGE })).body, version);
  const chosen = selectedIn(query);
  const [trouble, setTrouble] = useState<Error | null>(null);
  const doing = (work: () => Promise<unknown>) => () => void work().then(() => setTrouble(null), setTrouble).then(load.again);
  const choose = (id: number, isChosen: boolean) => {
    const next = selectedIn(place.peek().query);
    if (isChosen) next.add(id);
    else next.delete(id);
    setQuery({ selected: [...next].join(",") });
  };
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Runs</h1>
        <p class="hint">Times in {zoneLabel.value}</p>
      </div>
      <div class="filters" role="search">
        <SearchField value={q} />
        <SelectField label="Status" value={status} choices={STATUSES} onValue={(value) => setQuery({ status: value, cursor: null }, false)} />
        <button type="button" disabled={chosen.size < 2} onClick={() => go(`/compare?ids=${[...chosen].join(",")}`)}>
          Compare
        </button>
        {chosen.size > 0 && <span class="hint">{chosen.size === 1 ? "1 selected; one more to compare" : `${chosen.size} selected`}</span>}
      </div>
      {trouble && <Trouble error={trouble} what="that" />}
      <Shown load={load} what="the runs">
        {({ items, next_cursor }) => (
          <>
            <DataTable
              label="Runs"
              columns={columns(chosen, choose, doing)}
              rows={items.map((run) => withNews(run, runNews.value.get(run.run_id)))}
              keyOf={(run) => run.run_id}
              sort={sort}
              onSort={(next) => setQuery({ sort: next, cursor: null }, false)}
              empty={q || status ? "No run fits the search." : "No run yet: ask for one under New backtest."}
            />
            <div class="pager">
              {cursor && (
                <button type="button" onClick={() => setQuery({ cursor: null }, false)}>
                  First runs
                </button>
              )}
              {next_cursor && (
                <button type="button" onClick={() => setQuery({ cursor: next_cursor }, false)}>
                  Next {PAGE} runs
                </button>
              )}
            </div>
          </>
        )}
      </Shown>
    </>
  );
}

/** Ids of the runs that are selected, on this page of the table or another one. */
function selectedIn(query: URLSearchParams): Set<number> {
  return new Set((query.get("selected") ?? "").split(",").map(Number).filter(Boolean));
}

function columns(chosen: ReadonlySet<number>, choose: (id: number, isChosen: boolean) => void, doing: (work: () => Promise<unknown>) => () => void): Column<Run>[] {
  const metric = (name: string, title: string): Column<Run> => ({ name, title, sorts: true, isNumber: true, cell: (run) => <Figure name={name} value={run[name] as number | null} /> });
  return [
    { name: "select", title: "Select", isTitleUnseen: true, cell: (run) => <input type="checkbox" aria-label={`Select run ${run.run_id}`} checked={chosen.has(run.run_id)} onChange={(event) => choose(run.run_id, event.currentTarget.checked)} /> },
    { name: "run_id", title: "Run", cell: (run) => <Link class="nowrap" to={`/runs/${run.run_id}/chart`}>Run {run.run_id}</Link> },
    { name: "strategy", title: "Strategy", cell: (run) => run.strategy_name ?? `strategy ${run.strategy_id}` },
    { name: "symbol", title: "Symbol", cell: (run) => <span class="nowrap">{`${run.symbol} ${run.timeframe}`}</span> },
    { name: "status", title: "Status", cell: (run) => (isAtWork(run.status) ? <Work run={run} /> : <StatusWord status={run.status} />) },
    metric("total_return_pct", "Return"),
    metric("max_drawdown_pct", "Drawdown"),
    metric("sharpe_ratio", "Sharpe"),
    metric("profit_factor", "Profit factor"),
    metric("total_trades", "Trades"),
    { name: "created_at", title: "Asked for", sorts: true, cell: (run) => <Time at={run.created_at} /> },
    { name: "actions", title: "Actions", isTitleUnseen: true, cell: (run) => <Actions run={run} doing={doing} /> },
  ];
}

function Work({ run }: { run: Run }) {
  return (
    <span class="work">
      <StatusWord status={run.status} />
      <Progress percent={run.progress_pct} label={`Progress of run ${run.run_id}`} />
    </span>
  );
}

function Actions({ run, doing }: { run: Run; doing: (work: () => Promise<unknown>) => () => void }) {
  if (isAtWork(run.status)) {
    return (
      <button type="button" title={`Cancel run ${run.run_id}`} onClick={doing(() => api.post(`/backtest/${run.run_id}/cancel`, {}))}>
        Cancel
      </button>
    );
  }
  return (
    <button type="button" title={`Run the request of run ${run.run_id} again`} onClick={doing(() => api.post(`/backtest/${run.run_id}/rerun`, {}))}>
      Rerun
    </button>
  );
}

/** What is typed goes into the address, and to the server, when the typing rests. */
function SearchField({ value }: { value: string }) {
  const [typed, setTyped] = useState(value);
  const asked = useRef(value);
  useEffect(() => {
    if (value !== asked.current) setTyped(value);
    asked.current = value;
  }, [value]);
  useEffect(() => {
    if (typed === asked.current) return undefined;
    return later(250, () => {
      asked.current = typed;
      setQuery({ q: typed, cursor: null });
    });
  }, [typed]);
  return <TextField label="Search" type="search" value={typed} onValue={setTyped} placeholder="strategy, symbol or run number" />;
}

/** The row with what was heard since, where that is newer. */
export function withNews<T extends Run>(run: T, news: News | undefined): T {
  if (!news || !isAtWork(run.status)) return run;
  const status = news.status === "rejected" ? run.status : (news.status as Run["status"]);
  return { ...run, status, progress_pct: news.attempt === run["attempts"] ? Math.max(run.progress_pct, news.progress_pct) : news.progress_pct };
}

/** The value, as it was at most that long ago: many changes at once are seen as one. */
export function useSettled<T>(value: T, pauseMs: number): T {
  const [settled, setSettled] = useState(value);
  const latest = useRef(value);
  const timer = useRef(0);
  latest.current = value;
  useEffect(() => {
    if (timer.current) return;
    timer.current = window.setTimeout(() => {
      timer.current = 0;
      setSettled(latest.current);
    }, pauseMs);
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return settled;
}
