// A run: warnings first, its figures, and everything behind them in tabs. Live while it is at work.
import { useEffect, useMemo, useState } from "preact/hooks";
import { dataZone } from "../core/zones";
import { figureText } from "../core/figures";
import { api } from "../core/http_source";
import { runNews } from "../core/live";
import { useLoad } from "../core/load";
import { go, place } from "../core/router";
import type { Trade, RunDetail } from "../core/types";
import { Link, Progress, Shown, StatusWord, Time, Trouble, isAtWork } from "../parts/shown";
import { useSource } from "../parts/source_of_page";
import { Tabs } from "../parts/tabs";
import { AnalyticsTab } from "./run_analytics";
import { CallsTab, RuleAlone, asksModel } from "./run_calls";
import { ChartTab } from "./run_chart";
import { ConfigurationTab } from "./run_configuration";
import { DownloadsTab } from "./run_downloads";
import { EquityTab } from "./run_equity";
import { Figures, currencyOf } from "./run_figures";
import { MonthsTab } from "./run_months";
import { TradesTab } from "./run_trades";
import { loadTrades } from "./trade_list";
import { withNews } from "./runs";

export const TABS = ["chart", "equity", "months", "trades", "analytics", "calls", "configuration", "downloads"] as const;

/** A file holds no calls, and most runs make none. */
function tabsOf(run: RunDetail, isFile: boolean): readonly string[] {
  return TABS.filter((name) => name !== "calls" || (asksModel(run) && !isFile));
}

export function RunScreen() {
  const [, , idText = "", tab = "chart"] = place.value.path.split("/");
  const id = Number(idText);
  const source = useSource();
  const news = source.embedded ? undefined : runNews.value.get(id);
  // Progress is told by the news; the row is read anew when it began or ended.
  const load = useLoad(`run ${id}`, () => source.get<RunDetail>(`/backtest/${id}`), news?.status ?? "");
  return (
    <Shown load={load} what={`run ${idText}`}>
      {(run) => <RunView run={withNews(run, news)} tab={(TABS as readonly string[]).includes(tab) ? tab : "chart"} news={news} again={load.again} />}
    </Shown>
  );
}

function RunView({ run, tab, news, again }: { run: RunDetail; tab: string; news: Record<string, unknown> | undefined; again: () => void }) {
  const source = useSource();
  const [trouble, setTrouble] = useState<Error | null>(null);
  const { query } = place.value;
  useEffect(() => {
    dataZone.value = zoneOf(run);
  }, [run.run_id]);
  const doing = (work: () => Promise<unknown>) => () => void work().then(() => setTrouble(null), setTrouble).then(again);
  const toTab = (name: string) => go(`/runs/${run.run_id}/${name}${query.size ? `?${query}` : ""}`);
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Run {run.run_id}</h1>
        <p class="status" role="status">
          <StatusWord status={run.status} />
        </p>
        {isAtWork(run.status) && <Progress percent={run.progress_pct} label={`Progress of run ${run.run_id}`} />}
        {!source.embedded && (
          <span class="actions">
            {isAtWork(run.status) ? (
              <button type="button" onClick={doing(() => api.post(`/backtest/${run.run_id}/cancel`, {}))}>
                Cancel
              </button>
            ) : (
              <button type="button" onClick={doing(async () => go(`/runs/${(await api.post<{ run_id: number }>(`/backtest/${run.run_id}/rerun`, {})).body.run_id}/chart`))}>
                Rerun
              </button>
            )}
          </span>
        )}
      </div>
      <p class="subtitle">
        {source.embedded ? (run.strategy_name ?? "") : <Link to={`/strategies/${run.strategy_id}`}>{run.strategy_name ?? `Strategy ${run.strategy_id}`}</Link>} on {run.symbol} {run.timeframe},{" "}
        <Time at={run.start_date} /> to <Time at={run.end_date} /> (end excluded), {run.execution_mode}, spread {run.spread_pips} pips
      </p>
      {trouble && <Trouble error={trouble} what="that" />}
      {run.status === "completed" ? <Completed run={run} tab={tab} toTab={toTab} /> : <Unfinished run={run} tab={tab} toTab={toTab} news={news} />}
    </>
  );
}

function Completed({ run, tab, toTab }: { run: RunDetail; tab: string; toTab: (name: string) => void }) {
  const source = useSource();
  const trades = useLoad<readonly Trade[]>(`trades ${run.run_id}`, () => loadTrades(source, run.run_id));
  const panel = useMemo(() => ({ chart: ChartTab, equity: EquityTab, months: MonthsTab, trades: TradesTab, analytics: AnalyticsTab, calls: CallsTab, configuration: ConfigurationTab, downloads: DownloadsTab })[tab] ?? ChartTab, [tab]);
  const Panel = panel;
  return (
    <>
      <Warnings run={run} />
      <RuleAlone run={run} />
      <Figures run={run} />
      <Tabs label="Views of the run" names={tabsOf(run, source.embedded)} current={tab} onTab={toTab}>
        <Panel run={run} trades={trades} />
      </Tabs>
    </>
  );
}

export function Warnings({ run, label = "Warnings" }: { run: RunDetail; label?: string }) {
  const warnings = run.metrics?.warnings ?? (run["warnings"] as string[] | undefined) ?? [];
  return (
    <section aria-label={label} class={warnings.length ? "warnings" : "warnings calm"}>
      {warnings.length ? (
        <ul>
          {warnings.map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
      ) : (
        <p>No warnings.</p>
      )}
    </section>
  );
}

/** A run that has no results: what it does, or why there will be none. */
function Unfinished({ run, tab, toTab, news }: { run: RunDetail; tab: string; toTab: (name: string) => void; news: Record<string, unknown> | undefined }) {
  const source = useSource();
  const told = (name: string) => (news && news[name] !== null && news[name] !== undefined ? String(news[name]) : null);
  return (
    <>
      {run.error_message && (
        <section aria-label="Warnings" class="warnings">
          <p>{run.error_message}</p>
        </section>
      )}
      {isAtWork(run.status) && (
        <dl class="facts">
          {told("simulated_time") && (
            <>
              <dt>Simulated until</dt>
              <dd>
                <Time at={told("simulated_time")} />
              </dd>
            </>
          )}
          {told("bars_done") && (
            <>
              <dt>Bars</dt>
              <dd>
                {told("bars_done")} of {told("bars_total")}
              </dd>
            </>
          )}
          {told("equity") && (
            <>
              <dt>Equity so far</dt>
              <dd>{Number(told("equity")).toFixed(2)}</dd>
            </>
          )}
          {told("trades") && (
            <>
              <dt>Trades so far</dt>
              <dd>{told("trades")}</dd>
            </>
          )}
          {told("llm_calls_used") && (
            <>
              <dt>Calls to the model so far</dt>
              <dd>
                {told("llm_calls_used")}, answers of earlier ones {told("llm_calls_cached")}, cost {told("llm_cost") === null ? "not known" : figureText(Number(told("llm_cost")), "cost", currencyOf(run))}
              </dd>
            </>
          )}
          {told("eta_seconds") && (
            <>
              <dt>Seconds left, about</dt>
              <dd>{Math.ceil(Number(told("eta_seconds")))}</dd>
            </>
          )}
        </dl>
      )}
      <Tabs label="Views of the run" names={tabsOf(run, source.embedded)} current={tab} onTab={toTab}>
        {tab === "configuration" ? <ConfigurationTab run={run} /> : tab === "calls" ? <CallsTab run={run} /> : <p class="note">{isAtWork(run.status) ? "Results stand here as soon as the run has completed." : `The run is ${run.status}: it has no results.`}</p>}
      </Tabs>
    </>
  );
}

function zoneOf(run: RunDetail): string | null {
  const passport = run.metrics?.data_passport ?? {};
  const named = passport["timezone"] ?? passport["zone"] ?? run["zone"];
  return typeof named === "string" ? named : null;
}
