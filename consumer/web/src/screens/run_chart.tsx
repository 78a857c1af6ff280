// The chart of a run, and replay: the market as it stood at a moment, bar by bar.
import { useEffect, useRef, useState } from "preact/hooks";
import { CandleLoader } from "../chart/candle_window";
import { ContextChart } from "../chart/context_chart";
import { type IndicatorLine, type IndicatorsAnswer, indicatorLines } from "../chart/indicators";
import { type Position, lastExit } from "../chart/positions";
import { PriceChart, type Start } from "../chart/price_chart";
import { chartOnScreen } from "../core/hook";
import { later } from "../core/later";
import { type Loaded, errorText, useLoad } from "../core/load";
import { place, setQuery } from "../core/router";
import { epoch } from "../core/tables";
import type { RunDetail, Trade } from "../core/types";
import { isoText, timeText, typedTime, zone, zoneLabel } from "../core/zones";
import { type Choice, SelectField, TextField } from "../parts/fields";
import { useSource } from "../parts/source_of_page";
import { currencyOf } from "./run_figures";
import { TradeStory, decidedBefore } from "./trade_story";
import { positionOrder, viewOf } from "./trade_list";

const SPEEDS: readonly Choice[] = [1, 2, 5, 10, 25, 50, 100, 250].map((bars): Choice => [String(bars), `${bars} ${bars === 1 ? "bar" : "bars"} a second`]);

export function ChartTab({ run, trades }: { run: RunDetail; trades: Loaded<readonly Trade[]> }) {
  const source = useSource();
  const frame = useRef<HTMLDivElement>(null);
  const [chart, setChart] = useState<PriceChart | null>(null);
  const [trouble, setTrouble] = useState("");
  const shownZone = zone.value;
  const rows = trades.value;
  useEffect(() => {
    if (!frame.current) return;
    const timeframe = source.candleTimeframe ?? run.timeframe;
    const loader = new CandleLoader(source, { run_id: run.run_id, timeframe, start: epoch(run.start_date), end: epoch(run.end_date) }, source.timeframes);
    const made = new PriceChart(frame.current, loader, (name, from, to) => loadIndicators(source, run.run_id, name, from, to));
    setChart(made);
    chartOnScreen.value = made.hook;
    made.start(startOf(place.peek().query)).catch((error: Error) => setTrouble(errorText(error)));
    return () => {
      if (chartOnScreen.peek() === made.hook) chartOnScreen.value = null;
      made.close();
      setChart(null);
    };
  }, [run.run_id]);
  // Candles stand before the last of many trades has come.
  useEffect(() => {
    if (chart && rows) chart.setTrades(rows).catch((error: Error) => setTrouble(errorText(error)));
  }, [chart, rows]);
  useEffect(() => chart?.redrawTimes(), [chart, shownZone]);
  return (
    <>
      {chart && <Toolbar run={run} chart={chart} rows={rows ?? []} onTrouble={(error) => setTrouble(errorText(error))} />}
      {trouble && (
        <p class="trouble" role="alert">
          {trouble}
        </p>
      )}
      <div class="chart-and-story">
        <figure aria-label="Price chart" class="price" tabIndex={0} onKeyDown={(event) => chart && keys(event, chart)}>
          <div class="canvas" aria-hidden="true" ref={frame} />
          {chart && <Caption run={run} chart={chart} />}
        </figure>
        {chart && <Side run={run} chart={chart} />}
      </div>
    </>
  );
}

function startOf(query: URLSearchParams): Start {
  return {
    at: typedTime(query.get("at") ?? ""),
    span: Number(query.get("span")) || null,
    replay: query.get("replay") === "on",
    trade: Number(query.get("trade")) || null,
    timeframe: query.get("tf") ?? "auto",
    context: query.get("context") ?? "",
  };
}

function Toolbar({ run, chart, rows, onTrouble }: { run: RunDetail; chart: PriceChart; rows: readonly Trade[]; onTrouble: (error: Error) => void }) {
  const [date, setDate] = useState("");
  const [dateError, setDateError] = useState("");
  const isReplaying = chart.replaying.value;
  const isPlaying = chart.playing.value;
  const order = positionOrder(rows, viewOf(place.value.query));
  useAddress(chart);
  const did = (work: Promise<unknown>) => void work.catch(onTrouble);
  const jump = () => {
    if (!date.trim()) return;
    const at = typedTime(date);
    setDateError(at === null ? "not a date: write 2019-01-31, or 2019-01-31 14:00 (UTC)" : "");
    if (at !== null) did(chart.jump(at));
  };
  const toTrade = (by: 1 | -1) => {
    const next = neighbour(order, chart, by);
    if (next !== null) did(chart.select(next));
  };
  return (
    <div class="toolbar" role="group" aria-label="Chart controls">
      <div class="buttons">
        <button type="button" aria-pressed={isReplaying} class="toggle" onClick={() => did(chart.toggleReplay())}>
          Replay
        </button>
        <button type="button" disabled={!isReplaying} onClick={() => (isPlaying ? chart.pause() : chart.play())}>
          {isPlaying ? "Pause" : "Play"}
        </button>
        <button type="button" disabled={!isReplaying} onClick={() => did(chart.step(-1))}>
          Previous bar
        </button>
        <button type="button" disabled={!isReplaying} onClick={() => did(chart.step(1))}>
          Next bar
        </button>
        <button type="button" disabled={!order.length} onClick={() => toTrade(-1)}>
          Previous trade
        </button>
        <button type="button" disabled={!order.length} onClick={() => toTrade(1)}>
          Next trade
        </button>
        <button type="button" onClick={() => did(chart.fit())}>
          Fit
        </button>
      </div>
      <SelectField label="Speed" value={String(chart.speed.value)} choices={SPEEDS} onValue={(value) => (chart.speed.value = Number(value))} />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          jump();
        }}
      >
        <TextField label="Jump to date" value={date} placeholder="2019-01-31 14:00" onValue={setDate} onDone={jump} error={dateError} />
      </form>
      <SelectField
        label="Chart timeframe"
        value={chart.chosen.value}
        choices={[["auto", `automatic (${chart.timeframe.value || run.timeframe})`], ...chart.timeframes.map((name): Choice => [name, name])]}
        onValue={(value) => did(chart.chooseTimeframe(value))}
      />
      <SelectField
        label="Context timeframe"
        value={chart.context.value}
        choices={[["", "none"], ...chart.timeframes.filter((name) => name !== chart.timeframes[0]).map((name): Choice => [name, run.context_tfs?.includes(name) ? `${name}, of the strategy` : name])]}
        onValue={(value) => (chart.context.value = value)}
      />
    </div>
  );
}

/** The address says where the chart stands, a moment after it came to rest. */
function useAddress(chart: PriceChart): void {
  const [isReplaying, cursor, visible, selected, chosen, context] = [chart.replaying.value, chart.cursor.value, chart.visible.value, chart.selected.value, chart.chosen.value, chart.context.value];
  const isPlaying = chart.playing.value;
  useEffect(() => {
    const tell = () => {
      const isAll = !isReplaying && chart.showsAll();
      const at = isReplaying ? cursor : isAll ? null : (visible?.to ?? null);
      setQuery({
        at: at === null ? null : isoText(at),
        span: isAll || !visible ? null : Math.round(visible.to - visible.from),
        replay: isReplaying ? "on" : null,
        trade: selected,
        tf: chosen === "auto" ? null : chosen,
        context: context || null,
      });
    };
    if (!isPlaying) return later(250, tell);
    const timer = setTimeout(tell, 1_000);
    return () => clearTimeout(timer);
  }, [isReplaying, isPlaying ? Math.floor((cursor ?? 0) / 3600) : cursor, visible?.from, visible?.to, selected, chosen, context]);
}

/** The trade before or behind the selected one in the table's order. Without one: while replaying the next in time, else the first. */
function neighbour(order: readonly number[], chart: PriceChart, by: 1 | -1): number | null {
  const index = chart.selected.peek() === null ? -1 : order.indexOf(chart.selected.peek() as number);
  if (index >= 0) return order[index + by] ?? null;
  const cursor = chart.replaying.peek() ? chart.cursor.peek() : null;
  if (cursor === null) return (by === 1 ? order[0] : order.at(-1)) ?? null;
  const at = (id: number) => chart.position(id)?.entry ?? 0;
  const candidates = order.filter((id) => (by === 1 ? at(id) > cursor : at(id) < cursor)).sort((a, b) => at(a) - at(b));
  return (by === 1 ? candidates[0] : candidates.at(-1)) ?? null;
}

function Caption({ run, chart }: { run: RunDetail; chart: PriceChart }) {
  const visible = chart.visible.value;
  const left = chart.markersLeftOut.value;
  return (
    <figcaption>
      {run.symbol} {chart.timeframe.value}
      {visible && `, ${timeText(visible.from)} to ${timeText(visible.to)} ${zoneLabel.value}`}
      {chart.replaying.value && chart.cursor.value !== null && ` – replay stands at the close of the bar of ${timeText(chart.cursor.value)}`}
      {left > 0 && ` – ${left} entries and exits: zoom in to see them`}
    </figcaption>
  );
}

function Side({ run, chart }: { run: RunDetail; chart: PriceChart }) {
  const position = chart.position(chart.selected.value);
  const values = useLoad(position ? `values ${run.run_id} ${position.id}` : "", () => chart.valuesAt(decidedBefore(position as Position)));
  const cursor = chart.replaying.value ? chart.cursor.value : null;
  return (
    <aside class="story" aria-label="Selected trade and context">
      {position ? <TradeStory position={known(position, cursor)} isOpen={cursor !== null && lastExit(position) > cursor} currency={currencyOf(run)} digits={chart.digits} values={values.value} /> : <p class="hint">Choose a trade, in the chart or among the trades, to see why it was made.</p>}
      {chart.context.value && <ContextChart timeframe={chart.context.value} chart={chart} />}
    </aside>
  );
}

/** While replaying only what had happened by then. */
function known(position: Position, cursor: number | null): Position | null {
  if (cursor === null) return position;
  if (position.entry > cursor) return null;
  return { ...position, exits: position.exits.filter(({ time }) => time <= cursor), rows: position.rows.filter((row) => epoch(row.exit_time) <= cursor).concat(position.rows.slice(0, 1)).slice(0, Math.max(1, position.exits.filter(({ time }) => time <= cursor).length)) };
}

function keys(event: KeyboardEvent, chart: PriceChart): void {
  if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
  const isReplaying = chart.replaying.peek();
  const act: Record<string, () => void> = {
    ArrowRight: () => (isReplaying ? void chart.step(1) : chart.scrollBy(10)),
    ArrowLeft: () => (isReplaying ? void chart.step(-1) : chart.scrollBy(-10)),
    " ": () => (chart.playing.peek() ? chart.pause() : chart.play()),
    "+": () => chart.zoomBy(0.7),
    "-": () => chart.zoomBy(1.4),
  };
  const done = act[event.key];
  if (!done) return;
  event.preventDefault();
  done();
}

async function loadIndicators(source: ReturnType<typeof useSource>, runId: number, timeframe: string, from: number, to: number): Promise<readonly IndicatorLine[]> {
  try {
    return indicatorLines(await source.get<IndicatorsAnswer>(`/backtest/${runId}/indicators`, { from: isoText(from), to: isoText(to), timeframe }));
  } catch {
    // A strategy without indicators, or files that are gone: the candles are there all the same.
    return [];
  }
}

