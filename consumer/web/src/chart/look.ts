// The colours of charts, taken from the style sheet, so that light and dark are decided in one place.
import { CrosshairMode, type DeepPartial, type TimeChartOptions } from "lightweight-charts";
import { clockNow, dateText, parts, timeText, zoneLabel } from "../core/zones";

const known = new Map<string, string>();

/** A colour of the style sheet by its name, as it is now. Asked in every frame, looked up once a look. */
export function colour(name: string): string {
  let value = known.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    known.set(name, value);
  }
  return value;
}

export function chartOptions(): DeepPartial<TimeChartOptions> {
  return {
    autoSize: true,
    layout: {
      // The library's own mark brings a style element along, which no policy of ours allows; the page links to TradingView.
      attributionLogo: false,
      background: { color: "transparent" },
      textColor: colour("text-soft"),
      fontFamily: getComputedStyle(document.body).fontFamily,
      fontSize: 12,
      panes: { separatorColor: colour("line"), separatorHoverColor: colour("line") },
    },
    grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
    crosshair: { mode: CrosshairMode.Normal },
    rightPriceScale: { borderColor: colour("line") },
    timeScale: {
      borderColor: colour("line"),
      timeVisible: true,
      secondsVisible: false,
      minBarSpacing: 0.005,
      // What is shown stays what is shown, on a turned phone too.
      lockVisibleTimeRangeOnResize: true,
      rightOffset: 2,
      enableConflation: true,
      tickMarkFormatter: (time: unknown, kind: number) => tick(Number(time), kind),
    },
    localization: { timeFormatter: (time: unknown) => `${timeText(Number(time))} ${zoneLabel.peek()}` },
  };
}

/** kind: 0 a year, 1 a month, 2 a day, 3 and 4 a time. */
function tick(time: number, kind: number): string {
  const date = dateText(time);
  if (kind === 0) return date.slice(0, 4);
  const month = new Date(`${date.slice(0, 7)}-15T00:00:00Z`).toLocaleString("en", { month: "short", timeZone: "UTC" });
  if (kind === 1) return month;
  // A bare number between names of months could be a month as well.
  if (kind === 2) return `${Number(date.slice(8))} ${month}`;
  return parts(time, clockNow())[1];
}

/** Calls `change` when the look changes between light and dark; gives what ends it. */
export function onLookChange(change: () => void): () => void {
  const query = matchMedia("(prefers-color-scheme: dark)");
  const changed = () => {
    known.clear();
    change();
  };
  query.addEventListener("change", changed);
  return () => query.removeEventListener("change", changed);
}
