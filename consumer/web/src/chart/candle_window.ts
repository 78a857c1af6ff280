// Bars of a run by range and resolution: as many as a chart can use, never all of a long history.
import type { Source } from "../core/source";
import { candlesOf } from "../core/tables";
import { coarserOrEqual, finestThatFits, secondsOf } from "../core/timeframes";
import type { Bar, Table } from "../core/types";
import { isoText } from "../core/zones";

/** A timeframe of which the whole run has no more bars than this is loaded whole. */
export const WHOLE_BARS = 30_000;
/** Bars of a window into a longer one. */
const WINDOW_BARS = 9_000;
/** What the overview of a long run is made of. */
const OVERVIEW_BARS = 6_000;
const MOST_KEPT = 12;

export interface RunFacts {
  run_id: number;
  timeframe: string;
  /** Epoch seconds; start inclusive, end exclusive. */
  start: number;
  end: number;
}

/** Consecutive bars of one timeframe, all of the range [from, to). */
export interface CandleWindow {
  timeframe: string;
  from: number;
  to: number;
  bars: Bar[];
  isWhole: boolean;
}

export class CandleLoader {
  private readonly kept = new Map<string, Promise<CandleWindow>>();
  /** Choices of timeframe, the run's own first. */
  readonly timeframes: readonly string[];

  constructor(
    private readonly source: Source,
    readonly run: RunFacts,
    /** Where not every timeframe can be had. */
    available?: readonly string[],
  ) {
    this.timeframes = coarserOrEqual(run.timeframe).filter((name) => !available || available.includes(name));
  }

  /** The timeframe that shows a range of that many seconds well: the run's own, where the run is not too long for it. */
  fitting(seconds: number): string {
    const own = this.run.timeframe;
    return this.fitsWhole(own) ? own : finestThatFits(this.timeframes, seconds, OVERVIEW_BARS);
  }

  fitsWhole(timeframe: string): boolean {
    return (this.run.end - this.run.start) / secondsOf(timeframe) <= WHOLE_BARS;
  }

  /** Bars around [from, to): the whole run where it is short enough, else a window with that range in its middle. */
  async around(timeframe: string, from: number, to: number): Promise<CandleWindow> {
    const { start, end } = this.run;
    if (this.fitsWhole(timeframe)) return this.range(timeframe, start, end);
    const length = secondsOf(timeframe);
    // Of a range that is too long for the timeframe its end: never hundreds of thousands of bars.
    if (to - from > WHOLE_BARS * length) return this.around(timeframe, to - WINDOW_BARS * length, to);
    // Trading weeks have gaps: two thirds of the nominal bars are there.
    const margin = Math.max((WINDOW_BARS * length - (to - from)) / 2, 500 * length);
    const chunk = 500 * length;
    const first = Math.max(start, Math.floor((from - margin) / chunk) * chunk);
    const last = Math.min(end, Math.ceil((to + margin) / chunk) * chunk);
    return this.range(timeframe, first, last);
  }

  /** Exactly the bars with from <= open < to. */
  range(timeframe: string, from: number, to: number): Promise<CandleWindow> {
    const name = `${timeframe} ${from} ${to}`;
    let answer = this.kept.get(name);
    if (!answer) {
      answer = this.load(timeframe, from, to);
      answer.catch(() => this.kept.delete(name));
      this.kept.set(name, answer);
      for (const old of [...this.kept.keys()].slice(0, Math.max(0, this.kept.size - MOST_KEPT))) this.kept.delete(old);
    }
    return answer;
  }

  private async load(timeframe: string, from: number, to: number): Promise<CandleWindow> {
    const answer = await this.source.get<Table & { timeframe: string }>(`/backtest/${this.run.run_id}/candles`, {
      // A coarse candle at the begin of the run opens before it.
      from: from <= this.run.start ? null : isoText(from),
      to: to >= this.run.end ? null : isoText(to),
      timeframe,
    });
    const { bars, timeframe: given } = candlesOf(answer);
    return { timeframe: given, from, to, bars, isWhole: from <= this.run.start && to >= this.run.end };
  }
}
