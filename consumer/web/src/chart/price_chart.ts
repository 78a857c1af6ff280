// The price chart of a run: what the chart library is given, of which range and resolution, and up to which moment.
//
// Replay holds bars of the future in `base` and `window`, as everything that is loaded ahead; `given` is what the library
// has, and all that goes there passes through `present` or `stepped`, which cut at the cursor.
import { signal } from "@preact/signals";
import { CandlestickSeries, HistogramSeries, LineSeries, createChart, createSeriesMarkers } from "lightweight-charts";
import type { IChartApi, ISeriesApi, ISeriesMarkersPluginApi, LogicalRange, SeriesMarker, Time, UTCTimestamp } from "lightweight-charts";
import { digitsOf } from "../core/figures";
import { type ChartHook, chartBusy } from "../core/hook";
import { secondsOf } from "../core/timeframes";
import type { Bar, Trade } from "../core/types";
import { type CandleLoader, type CandleWindow, WHOLE_BARS } from "./candle_window";
import { type IndicatorLine, pointsUpTo } from "./indicators";
import { chartOptions, colour, onLookChange } from "./look";
import { type Position, type ShownLine, type ShownMarker, candleSoFar, candlesUpTo, indexAt, lastExit, linesOf, markersOf, positionsOf } from "./positions";
import { Segments } from "./segments";

/** More markers than this on screen at once tell nothing and cost frames. */
const MOST_MARKERS = 3_000;
/** Bars loaded behind the cursor, to go on from. */
const AHEAD = 1_500;
/** A jump out of a wider picture than this leads to one of so many bars. */
const FAR_BARS = 2_000;
const NEAR_BARS = 250;
/** More markers than this are drawn small. */
const CROWD = 250;

export interface Start {
  /** Epoch seconds: the cursor while replaying, else the right edge; null: all of the run. */
  at: number | null;
  /** Seconds shown; null: a screen's worth. */
  span: number | null;
  replay: boolean;
  trade: number | null;
  /** "auto" or a name. */
  timeframe: string;
  /** A name, or "". */
  context: string;
}

export class PriceChart {
  readonly timeframe = signal("");
  /** "auto" or a name. */
  readonly chosen = signal("auto");
  readonly replaying = signal(false);
  readonly cursor = signal<number | null>(null);
  readonly playing = signal(false);
  readonly selected = signal<number | null>(null);
  readonly visible = signal<{ from: number; to: number } | null>(null);
  readonly markersLeftOut = signal(0);
  /** Bars a second while playing. */
  readonly speed = signal(5);
  readonly positions = signal<readonly Position[]>([]);
  /** Of the chart beside this one; "" where there is none. */
  readonly context = signal("");
  /** Choices of timeframe, the run's own first. */
  readonly timeframes: readonly string[];
  readonly hook: ChartHook;
  /** Decimals of prices. */
  digits = 5;

  private readonly chart: IChartApi;
  private readonly candles: ISeriesApi<"Candlestick">;
  private readonly volume: ISeriesApi<"Histogram">;
  private readonly markers: ISeriesMarkersPluginApi<Time>;
  private readonly segments = new Segments();
  private readonly indicatorSeries: ISeriesApi<"Line">[] = [];
  private readonly stopFollowingLook: () => void;

  /** Logical indices on screen: the library tells a range that was set only when it has drawn it. */
  private range: LogicalRange | null = null;
  private window: CandleWindow | null = null;
  private base: CandleWindow | null = null;
  private given: Bar[] = [];
  private shownMarkers: ShownMarker[] = [];
  private shownLines: ShownLine[] = [];
  private indicators: readonly IndicatorLine[] = [];
  /** Open of the last candle whose points the library has, as far as they are known. */
  private indicatorsUntil = -Infinity;
  private settling = 0;
  private frame = 0;
  private steps: Promise<unknown> = Promise.resolve();
  private isClosed = false;
  /** The trade that the address names, until the trades are there. */
  private awaited: number | null = null;
  private isAwaitedElsewhere = false;
  private isBusy = false;

  constructor(
    element: HTMLElement,
    private readonly loader: CandleLoader,
    private readonly loadIndicators: (timeframe: string, from: number, to: number) => Promise<readonly IndicatorLine[]>,
  ) {
    this.chart = createChart(element, chartOptions());
    this.candles = this.chart.addSeries(CandlestickSeries);
    this.timeframes = loader.timeframes;
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.markers = createSeriesMarkers<Time>(this.candles, []);
    this.candles.attachPrimitive(this.segments);
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.moved(range));
    this.chart.subscribeClick(({ time }) => time !== undefined && this.clicked(Number(time)));
    this.look();
    this.stopFollowingLook = onLookChange(() => this.look());
    this.hook = hookOf(this, () => [this.given, this.shownMarkers, this.shownLines], loader.run.run_id);
  }

  close(): void {
    this.isClosed = true;
    this.pause();
    clearTimeout(this.settling);
    this.stopFollowingLook();
    this.chart.remove();
  }

  /** Shows what an address says; the trade as soon as trades are there. */
  async start({ at, span, replay, trade, timeframe, context }: Start): Promise<void> {
    const { start, end } = this.loader.run;
    this.chosen.value = timeframe;
    this.context.value = context;
    this.awaited = trade;
    this.selected.value = trade;
    this.isAwaitedElsewhere = at !== null;
    await this.busy(async () => {
      if (at === null) await this.showRange(start, end);
      else {
        await this.showRange(at - (span ?? 150 * secondsOf(this.loader.run.timeframe)), at + 1e-3, 0);
        if (replay) await this.replayFrom(at);
      }
    });
    await this.showAwaited();
  }

  async setTrades(trades: readonly Trade[]): Promise<void> {
    this.positions.value = positionsOf(trades);
    if (!this.window) return;
    this.presentTrades();
    await this.showAwaited();
  }

  private async showAwaited(): Promise<void> {
    const id = this.awaited;
    if (id === null || !this.position(id)) return;
    this.awaited = null;
    if (this.isAwaitedElsewhere) this.highlight(id);
    else await this.select(id);
  }

  position(id: number | null): Position | null {
    return this.positions.value.find((each) => each.id === id) ?? null;
  }

  fit(): Promise<void> {
    return this.busy(async () => {
      const { start, end } = this.loader.run;
      const cursor = this.cursor.peek();
      await this.showRange(start, this.replaying.peek() && cursor !== null ? cursor + 1 : end);
    });
  }

  async chooseTimeframe(timeframe: string): Promise<void> {
    this.chosen.value = timeframe;
    const shown = this.visible.peek();
    const { start, end } = this.loader.run;
    await this.busy(async () => {
      await this.showRange(shown?.from ?? start, shown ? this.edge(shown.to) : end);
      if (this.replaying.peek()) this.followCursor();
    });
  }

  /** Off: the whole run. On: from the right edge of what is shown. */
  async toggleReplay(): Promise<void> {
    this.pause();
    if (this.replaying.peek()) {
      this.replaying.value = false;
      this.cursor.value = null;
      this.base = null;
      await this.busy(async () => this.present());
      return;
    }
    const shown = this.visible.peek();
    await this.busy(() => this.replayFrom(shown ? this.edge(shown.to) - 1e-3 : this.loader.run.end));
  }

  /** The cursor goes to the bar that holds that moment, or the last before it; without replay the chart goes there. */
  async jump(at: number): Promise<void> {
    const { start, end } = this.loader.run;
    const wanted = Math.min(Math.max(at, start), end);
    if (this.replaying.peek()) {
      await this.busy(() => this.moveTo(wanted));
      return;
    }
    const shown = this.visible.peek();
    const bar = secondsOf(this.loader.run.timeframe);
    const span = shown ? shown.to - shown.from : Infinity;
    const length = span <= FAR_BARS * bar ? Math.max(span, 60 * bar) : NEAR_BARS * bar;
    await this.busy(() => this.showRange(wanted - length / 2, wanted + length / 2));
  }

  /** Bars of the run's timeframe, forwards or back; false at an end of the run. */
  step(bars: number): Promise<boolean> {
    const next = this.steps.then(() => this.stepNow(bars));
    this.steps = next.catch(() => undefined);
    return next;
  }

  play(): void {
    if (!this.replaying.peek() || this.playing.peek()) return;
    this.playing.value = true;
    let due = 0;
    let before = performance.now();
    const tick = async (now: number) => {
      if (!this.playing.peek()) return;
      due = Math.min(due + ((now - before) / 1000) * this.speed.peek(), 60);
      before = now;
      const bars = Math.floor(due);
      due -= bars;
      if (bars > 0 && !(await this.step(bars))) this.pause();
      if (this.playing.peek()) this.frame = requestAnimationFrame((time) => void tick(time));
    };
    this.frame = requestAnimationFrame((time) => void tick(time));
  }

  pause(): void {
    this.playing.value = false;
    cancelAnimationFrame(this.frame);
  }

  /** To a position: while replaying the cursor stands at its entry, and what came of it is not known yet. */
  async select(id: number): Promise<void> {
    const position = this.position(id);
    if (!position) return;
    this.pause();
    await this.busy(async () => {
      if (this.replaying.peek()) await this.moveTo(position.entry);
      else {
        const length = secondsOf(this.loader.run.timeframe);
        const held = Math.max(lastExit(position) - position.entry, 0);
        const margin = Math.max(held * 0.6, 40 * length);
        await this.showRange(position.entry - margin, lastExit(position) + margin);
      }
      this.highlight(id);
    });
  }

  highlight(id: number | null): void {
    this.selected.value = id;
    this.segments.show(this.shownLines, id);
  }

  scrollBy(bars: number): void {
    if (this.range) this.setRange(this.range.from + bars, this.range.to + bars);
  }

  zoomBy(factor: number): void {
    if (this.range) this.setRange(this.range.to - (this.range.to - this.range.from) * factor, this.range.to);
  }

  /** Whether the first and the last bar of the run are on screen. */
  showsAll(): boolean {
    const shown = this.visible.peek();
    return !shown || (shown.from === this.given[0]?.time && shown.to === this.given.at(-1)?.time && this.window?.isWhole === true);
  }

  /** The last candles of another timeframe, at the close of the bar that opens at `at`. */
  async contextUpTo(timeframe: string, at: number, count: number): Promise<Bar[]> {
    const { run } = this.loader;
    const chunk = count * secondsOf(timeframe);
    const last = Math.min(run.end, (Math.floor(at / chunk) + 1) * chunk);
    const candles = await this.loader.range(timeframe, Math.max(run.start, last - 3 * chunk), last);
    const open = candles.bars[indexAt(candles.bars, at)]?.time;
    if (open === undefined) return [];
    // In pieces of a candle, so that each is asked for once.
    const base = await this.loader.range(run.timeframe, open, Math.min(run.end, open + 1.5 * secondsOf(timeframe)));
    return candlesUpTo(candles.bars, base.bars, at).slice(-count);
  }

  /** The strategy's indicators as they stood at the last close before or at `at`, by name. */
  async valuesAt(at: number): Promise<Record<string, number>> {
    const { timeframe } = this.loader.run;
    const lines = await this.loadIndicators(timeframe, at - 400 * secondsOf(timeframe), at + 1);
    return Object.fromEntries(lines.map(({ name, time, value }) => [name, value[indexAt(time.map((each) => ({ time: each })), at)]]).filter((each): each is [string, number] => typeof each[1] === "number"));
  }

  redrawTimes(): void {
    this.chart.applyOptions(chartOptions());
  }

  // Loading

  /** Shows [from, to), at the chosen timeframe or one that fits. */
  private async showRange(from: number, to: number, right?: number): Promise<void> {
    const { start, end } = this.loader.run;
    const [first, last] = [Math.max(from, start), Math.min(Math.max(to, start + 1), end)];
    const timeframe = this.nameFor(last - first);
    await this.fill(timeframe, first, last);
    this.showTimes(from, to, right);
  }

  private nameFor(seconds: number): string {
    const chosen = this.chosen.peek();
    return chosen !== "auto" && this.loader.timeframes.includes(chosen) ? chosen : this.loader.fitting(seconds);
  }

  private async fill(timeframe: string, from: number, to: number): Promise<void> {
    const window = await this.loader.around(timeframe, from, to);
    if (this.isClosed) return;
    this.window = window;
    this.timeframe.value = window.timeframe;
    const cursor = this.cursor.peek();
    if (this.replaying.peek() && cursor !== null) await this.loadBase(cursor);
    this.indicators = await this.loadIndicators(window.timeframe, window.from, window.to);
    if (!this.isClosed) this.present();
  }

  /** Bars of the run's timeframe from the candle that holds the cursor on, and some ahead. */
  private async loadBase(cursor: number): Promise<void> {
    const { timeframe, start, end } = this.loader.run;
    if (this.window?.timeframe === timeframe && covers(this.window, cursor, end)) {
      this.base = this.window;
      return;
    }
    const length = secondsOf(timeframe);
    const open = this.window?.bars[indexAt(this.window.bars, cursor)]?.time ?? start;
    const from = Math.max(start, Math.min(open, cursor - 200 * length));
    this.base = await this.loader.range(timeframe, from, Math.min(end, cursor + AHEAD * length));
  }

  // Replay

  private async replayFrom(at: number): Promise<void> {
    this.replaying.value = true;
    await this.moveTo(at);
  }

  /** The cursor to the last bar that opens at or before `at`, and the chart to the cursor. */
  private async moveTo(at: number): Promise<void> {
    const { start, end, timeframe } = this.loader.run;
    const length = secondsOf(timeframe);
    const clamped = Math.min(at, end - 1);
    let bar: Bar | undefined;
    // A gap may lie before `at`: look further back.
    for (let back = 400 * length; !bar; back *= 8) {
      const window = await this.loader.range(timeframe, Math.max(start, clamped - back), Math.min(end, clamped + AHEAD * length));
      if (this.isClosed) return;
      bar = window.bars[indexAt(window.bars, clamped)] ?? (clamped - back <= start ? window.bars[0] : undefined);
      if (!bar && clamped - back <= start && !window.bars.length) return;
    }
    this.cursor.value = bar.time;
    const shown = this.visible.peek();
    const span = shown ? shown.to - shown.from : 150 * length;
    const window = this.window;
    if (!window || !(window.from <= bar.time && bar.time < window.to)) {
      await this.fill(this.nameFor(Math.max(span, 60 * length)), bar.time - span, bar.time + 1);
    } else {
      await this.loadBase(bar.time);
      this.present();
    }
    this.followCursor();
  }

  /** Several bars are one picture: what depends on the cursor alone is made once. */
  private async stepNow(bars: number): Promise<boolean> {
    const first = this.cursor.peek();
    if (!this.replaying.peek() || first === null || this.isClosed) return false;
    if (!this.base) await this.loadBase(first);
    let cursor = first;
    for (let left = Math.abs(bars); left > 0; left -= 1) {
      const next = await this.neighbour(cursor, bars > 0 ? 1 : -1);
      if (!next || this.isClosed) break;
      this.cursor.value = cursor = next.time;
      await this.stepped(next, bars > 0 ? 1 : -1);
    }
    if (cursor === first || this.isClosed) return false;
    if (bars > 0) {
      this.presentTrades(true);
      this.putIndicators();
    }
    return true;
  }

  /** The bar before or behind the cursor's, loading more where the base ends. */
  private async neighbour(cursor: number, bars: 1 | -1): Promise<Bar | null> {
    const { start, end } = this.loader.run;
    const length = secondsOf(this.loader.run.timeframe);
    let base = this.base;
    for (let reach = AHEAD * length; base; reach *= 8) {
      const found = base.bars[indexAt(base.bars, cursor) + bars];
      if (found) return found;
      if (bars === 1 ? base.to >= end : base.from <= start) return null;
      base = this.base = await this.loader.range(this.loader.run.timeframe, Math.max(start, cursor - reach), Math.min(end, cursor + reach));
    }
    return null;
  }

  /** The quick way for a step forwards; the library is given one candle. */
  private async stepped(bar: Bar, bars: 1 | -1): Promise<void> {
    const window = this.window;
    if (!window || bar.time < window.from || bar.time >= window.to) {
      const span = (this.visible.peek()?.to ?? bar.time) - (this.visible.peek()?.from ?? bar.time - 1);
      await this.fill(window?.timeframe ?? this.loader.run.timeframe, bar.time - span, bar.time + 1);
      this.followCursor();
      return;
    }
    if (bars === -1) {
      await this.loadBase(bar.time);
      this.present();
      return;
    }
    const isBase = window.timeframe === this.loader.run.timeframe;
    const open = isBase ? bar.time : window.bars[indexAt(window.bars, bar.time)]?.time;
    if (open === undefined) return;
    const last = this.given.at(-1);
    if (!isBase && this.base && this.base.from > open) await this.loadBase(bar.time);
    const candle = isBase ? bar : candleSoFar(open, this.base?.bars ?? [], bar.time);
    if (!candle) return;
    if (last && last.time > candle.time) return;
    if (last && last.time < candle.time) {
      const whole = window.bars[indexAt(window.bars, last.time)];
      // A new candle begins: the one before is whole now.
      if (whole && whole.time === last.time) this.put(whole, true);
    }
    this.put(candle, last?.time === candle.time);
  }

  private put(bar: Bar, replaces: boolean): void {
    if (replaces) this.given[this.given.length - 1] = bar;
    else this.given.push(bar);
    this.candles.update(candle(bar));
    if (bar.volume !== undefined) this.volume.update(volumeBar(bar));
  }

  // Showing

  /** Gives the library what may be seen: everything loaded, or what stands at the cursor's close. */
  private present(): void {
    const window = this.window;
    if (!window) return;
    const kept = this.anchor();
    const cursor = this.replaying.peek() ? this.cursor.peek() : null;
    if (cursor === null) this.given = window.bars.slice();
    else if (window.timeframe === this.loader.run.timeframe) this.given = window.bars.slice(0, indexAt(window.bars, cursor) + 1);
    else this.given = candlesUpTo(window.bars, this.base?.bars ?? [], cursor);
    this.digits = digitsOf(this.given.slice(0, 100).flatMap(({ open, high, low, close }) => [open, high, low, close]));
    this.candles.applyOptions({ priceFormat: { type: "price", precision: this.digits, minMove: 10 ** -this.digits } });
    this.candles.setData(this.given.map(candle));
    const traded = this.given.filter(({ volume }) => volume !== undefined);
    // A file without volumes has zeros for them.
    const isTraded = traded.some(({ volume }) => volume !== 0);
    this.volume.setData(traded.map(volumeBar));
    this.volume.applyOptions({ visible: isTraded });
    this.presentTrades();
    this.presentIndicators();
    this.restore(kept);
  }

  private presentTrades(isStep = false): void {
    const before = this.shownMarkers;
    const cursor = this.replaying.peek() ? this.cursor.peek() : null;
    const [first, last] = [this.given[0], this.given.at(-1)];
    const near = first && last ? this.positions.peek().filter((each) => lastExit(each) >= first.time && each.entry <= last.time + secondsOf(this.timeframe.peek())) : [];
    const markers = markersOf(near, this.given, cursor);
    this.markersLeftOut.value = markers.length > MOST_MARKERS ? markers.length : 0;
    this.shownMarkers = markers.length > MOST_MARKERS ? [] : markers;
    this.shownLines = markers.length > MOST_MARKERS ? [] : linesOf(near, this.given, cursor);
    const size = this.shownMarkers.length > CROWD ? 0.35 : 1;
    // Steps within a trade change no marker.
    if (!isStep || !isSame(before, this.shownMarkers)) this.markers.setMarkers(this.shownMarkers.map((marker) => seriesMarker(marker, size)));
    this.segments.show(this.shownLines, this.selected.peek());
  }

  private presentIndicators(): void {
    const cursor = this.replaying.peek() ? this.cursor.peek() : null;
    const isBase = this.timeframe.peek() === this.loader.run.timeframe;
    while (this.indicatorSeries.length > this.indicators.length) this.chart.removeSeries(this.indicatorSeries.pop() as ISeriesApi<"Line">);
    this.indicators.forEach((line, index) => {
      const paneIndex = line.pane;
      let series = this.indicatorSeries[index];
      if (!series) {
        series = this.chart.addSeries(LineSeries, { lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false }, paneIndex);
        this.indicatorSeries[index] = series;
      }
      series.applyOptions({ title: line.name, color: colour(`line-${(index % 6) + 1}`) });
      series.setData(pointsUpTo(line, this.given, cursor, isBase));
    });
    this.indicatorsUntil = this.given.at(-1)?.time ?? -Infinity;
    this.chart.panes().forEach((pane, index) => pane.setStretchFactor(index === 0 ? 3 : 1));
  }

  /** After steps forwards: the points that came. */
  private putIndicators(): void {
    const isBase = this.timeframe.peek() === this.loader.run.timeframe;
    const from = indexAt(this.given, this.indicatorsUntil);
    const fresh = this.given.slice(Math.max(0, from));
    this.indicators.forEach((line, index) => {
      for (const point of pointsUpTo(line, fresh, this.cursor.peek(), isBase)) this.indicatorSeries[index]?.update(point);
    });
    this.indicatorsUntil = this.given.at(-1)?.time ?? -Infinity;
  }

  /** Where a known bar stands, so that more bars before it do not move the picture. */
  private anchor(): { time: number; index: number; range: LogicalRange } | null {
    const range = this.range;
    const index = range ? Math.min(Math.max(0, Math.round(range.from)), this.given.length - 1) : -1;
    const bar = this.given[index];
    return range && bar ? { time: bar.time, index, range } : null;
  }

  private restore(kept: { time: number; index: number; range: LogicalRange } | null): void {
    if (!kept) return;
    const index = indexAt(this.given, kept.time);
    if (index < 0 || this.given[index]?.time !== kept.time) return;
    const shift = index - kept.index;
    this.setRange(kept.range.from + shift, kept.range.to + shift);
  }

  /** `right`: bars of room at the right edge. */
  private showTimes(from: number, to: number, right = to >= this.loader.run.end ? 1 : 0): void {
    const last = indexAt(this.given, to - 1e-3);
    const first = Math.min(Math.max(0, indexAt(this.given, from - 1e-3) + 1), Math.max(0, last - 5));
    if (this.given.length) this.setRange(first - 0.5, Math.max(last, first) + 0.5 + right);
    this.tellVisible();
  }

  /** The candle of the cursor comes on screen, at the right edge where it was not. */
  private followCursor(): void {
    const last = this.given.length - 1;
    if (!this.range || last < 0) return;
    const length = Math.max(5, this.range.to - this.range.from);
    if (last > this.range.to || last < this.range.from + length / 3) this.setRange(last + 1.5 - length, last + 1.5);
    this.tellVisible();
  }

  private setRange(from: number, to: number): void {
    this.range = { from, to } as LogicalRange;
    this.chart.timeScale().setVisibleLogicalRange(this.range);
  }

  /** The end of the candle that opens at `open`: the next one's open. */
  private edge(open: number): number {
    const bars = this.window?.bars ?? [];
    return bars[indexAt(bars, open) + 1]?.time ?? this.loader.run.end;
  }

  private moved(range: LogicalRange | null): void {
    if (!range || this.isClosed) return;
    this.range = range;
    this.tellVisible();
    clearTimeout(this.settling);
    this.settling = window.setTimeout(() => void this.settle(), 140);
  }

  private tellVisible(): void {
    const range = this.range;
    const last = this.given.length - 1;
    if (!range || last < 0) return;
    const from = this.given[Math.min(Math.max(0, Math.ceil(range.from)), last)];
    const to = this.given[Math.max(0, Math.min(last, Math.floor(range.to)))];
    if (from && to && (from.time !== this.visible.peek()?.from || to.time !== this.visible.peek()?.to)) this.visible.value = { from: from.time, to: to.time };
  }

  /** After the picture came to rest: other candles where these are too coarse or too fine, more where they end. */
  private async settle(): Promise<void> {
    const { range, window } = this;
    if (!range || !window || this.isClosed || this.isBusy) return;
    const [first, last] = [this.given[Math.max(0, Math.floor(range.from))], this.given[Math.min(this.given.length - 1, Math.ceil(range.to))]];
    if (!first || !last) return;
    const span = this.edge(last.time) - first.time;
    const count = range.to - range.from;
    const wanted = this.nameFor(span);
    const tooCoarse = count < 150 && secondsOf(wanted) < secondsOf(window.timeframe);
    const tooFine = count > WHOLE_BARS && secondsOf(wanted) > secondsOf(window.timeframe);
    const atEdge = !window.isWhole && ((range.from < 100 && window.from > this.loader.run.start) || (!this.replaying.peek() && range.to > this.given.length - 100 && window.to < this.loader.run.end));
    if (tooCoarse || tooFine) await this.busy(() => this.showRange(first.time, this.edge(last.time)));
    else if (atEdge) await this.busy(() => this.fill(window.timeframe, first.time, last.time));
  }

  /** A click near an entry or an exit selects the position. */
  private clicked(time: number): void {
    const at = this.shownMarkers.find((marker) => marker.time === time);
    if (at) this.highlight(at.trade);
  }

  private look(): void {
    this.chart.applyOptions(chartOptions());
    const [up, down] = [colour("up"), colour("down")];
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderVisible: false });
    this.volume.applyOptions({ color: colour("volume") });
    if (this.window) {
      this.presentTrades();
      this.presentIndicators();
    }
  }

  private async busy(work: () => Promise<void> | void): Promise<void> {
    chartBusy.value += 1;
    this.isBusy = true;
    try {
      await work();
    } finally {
      // A frame later the library has drawn it, and told its range.
      await new Promise((resolve) => requestAnimationFrame(resolve));
      this.isBusy = false;
      chartBusy.value -= 1;
      if (!this.isClosed) this.tellVisible();
    }
  }
}

function isSame(a: readonly ShownMarker[], b: readonly ShownMarker[]): boolean {
  return a.length === b.length && a.every((each, index) => each.time === b[index]?.time && each.trade === b[index]?.trade && each.kind === b[index]?.kind);
}

function covers(window: CandleWindow, cursor: number, end: number): boolean {
  const behind = window.bars[indexAt(window.bars, cursor) + 1];
  return window.from <= cursor && (window.to >= end || behind !== undefined);
}

function hookOf(chart: PriceChart, given: () => [Bar[], ShownMarker[], ShownLine[]], run_id: number): ChartHook {
  return Object.freeze({
    run_id,
    get timeframe() {
      return chart.timeframe.value;
    },
    get visible() {
      return chart.visible.value;
    },
    get replaying() {
      return chart.replaying.value;
    },
    get cursor() {
      return chart.cursor.value ?? given()[0].at(-1)?.time ?? null;
    },
    get playing() {
      return chart.playing.value;
    },
    get selected() {
      return chart.selected.value;
    },
    bars: () => given()[0].map((bar) => ({ ...bar })),
    markers: () => given()[1].map(({ time, trade, kind }) => ({ time, trade, kind })),
    lines: () => given()[2].map(({ kind, from, to, price, trade, toPrice }) => ({ kind, from, to, price, trade, to_price: toPrice })),
  });
}

function candle({ time, open, high, low, close }: Bar) {
  return { time: time as UTCTimestamp, open, high, low, close };
}

function volumeBar({ time, volume }: Bar) {
  return { time: time as UTCTimestamp, value: volume ?? 0 };
}

function seriesMarker({ time, kind, direction, profit }: ShownMarker, size: number): SeriesMarker<Time> {
  const isBuy = direction === "BUY";
  if (kind === "entry") {
    return { time: time as UTCTimestamp, position: isBuy ? "belowBar" : "aboveBar", shape: isBuy ? "arrowUp" : "arrowDown", color: colour(isBuy ? "buy" : "sell"), size };
  }
  return { time: time as UTCTimestamp, position: isBuy ? "aboveBar" : "belowBar", shape: "circle", color: colour((profit ?? 0) > 0 ? "win" : "loss"), size: 0.7 * size };
}
