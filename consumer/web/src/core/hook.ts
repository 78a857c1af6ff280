// What tests and extensions may see of the page: window.backtestPage, frozen, getters only.
import { signal } from "@preact/signals";
import { requestsOut } from "./http_source";
import { connection } from "./live";
import { loadsOut } from "./load";
import type { Bar } from "./types";

export interface Marker {
  /** Epoch seconds of the candle it stands at. */
  time: number;
  /** position_id */
  trade: number;
  kind: "entry" | "exit";
}

export interface Line {
  kind: "trade" | "stop" | "target";
  from: number;
  to: number;
  price: number;
}

/** What the chart library was given, and what it shows. Times are epoch seconds. */
export interface ChartHook {
  readonly run_id: number;
  readonly timeframe: string;
  readonly visible: { from: number; to: number } | null;
  readonly replaying: boolean;
  /** Open of the last bar shown, at the run's timeframe while replaying. */
  readonly cursor: number | null;
  readonly playing: boolean;
  /** position_id */
  readonly selected: number | null;
  bars(): Bar[];
  markers(): Marker[];
  lines(): Line[];
}

/** The chart on screen, or null. */
export const chartOnScreen = signal<ChartHook | null>(null);
/** Whether a chart is being filled. */
export const chartBusy = signal(0);
const started = signal(false);

export function pageStarted(): void {
  started.value = true;
}

/** Defines window.backtestPage; in a report there is no connection to lose. */
export function defineHook(embedded: boolean): void {
  const hook = Object.freeze({
    /** Everything that was asked for is on screen. */
    get ready() {
      return started.value && loadsOut.value === 0 && requestsOut.value === 0 && chartBusy.value === 0;
    },
    get connection() {
      return embedded ? "live" : connection.value;
    },
    get chart() {
      return chartOnScreen.value;
    },
  });
  Object.defineProperty(window, "backtestPage", { value: hook, enumerable: true });
}
