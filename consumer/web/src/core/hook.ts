// What tests and extensions may see of the page: window.backtestPage, frozen, getters only.
import { computed, effect, signal } from "@preact/signals";
import { requestsOut } from "./http_source";
import { connection } from "./live";
import { loadsOut } from "./load";
import { waiting } from "./later";
import { place } from "./router";
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
/** Whether nothing has been out for two frames. */
let settled = false;
let turn = 0;

/** The page stands: from now on it settles whenever nothing is out. What arrived is drawn in one frame, and only behind it
 * do the parts drawn ask for theirs: so nothing out for a moment does not mean that all is there. */
export function pageStarted(): void {
  const isOut = computed(() => loadsOut.value + requestsOut.value + chartBusy.value + waiting.value > 0);
  const unsettle = () => {
    settled = false;
    turn += 1;
    if (!isOut.peek()) void settle(turn);
  };
  effect(() => {
    void [place.value, isOut.value];
    unsettle();
  });
  // What a person does is not asked for before the next frame either.
  for (const each of ["input", "change", "click", "keydown", "drop"]) addEventListener(each, unsettle, true);
}

async function settle(mine: number): Promise<void> {
  for (let frames = 0; frames < 2; frames += 1) await nextFrame();
  if (mine === turn) settled = true;
}

/** Behind the next frame's effects; a window that is not seen has no frames, but goes on. */
function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
      setTimeout(resolve);
    };
    const timer = setTimeout(done, 150);
    const frame = requestAnimationFrame(done);
  });
}

/** Defines window.backtestPage; in a report there is no connection to lose. */
export function defineHook(embedded: boolean): void {
  const hook = Object.freeze({
    /** Everything that was asked for is on screen, and stands in the address. */
    get ready() {
      return settled;
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
