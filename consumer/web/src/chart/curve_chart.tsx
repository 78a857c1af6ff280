// Curves over time: equity, drawdown, comparisons.
import { AreaSeries, LineSeries, createChart } from "lightweight-charts";
import type { IChartApi, UTCTimestamp } from "lightweight-charts";
import { useEffect, useRef } from "preact/hooks";
import { chartBusy } from "../core/hook";
import { zone } from "../core/zones";
import { chartOptions, colour, onLookChange } from "./look";

export interface Curve {
  name: string;
  /** Of the style sheet. */
  colour: string;
  time: readonly number[];
  value: readonly (number | null)[];
  isArea?: boolean;
}

/** `label` is the figure's name; `summary` tells in words what the picture shows. `unit` stands behind numbers. */
export function CurveChart({ label, curves, summary, unit, small }: { label: string; curves: readonly Curve[]; summary: string; unit: string; small?: boolean }) {
  const frame = useRef<HTMLDivElement>(null);
  const shown = zone.value;
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    chartBusy.value += 1;
    let isCounted = true;
    const drawnNow = () => {
      if (isCounted) chartBusy.value -= 1;
      isCounted = false;
    };
    let chart = drawn(element, curves, unit);
    const stop = onLookChange(() => {
      const shown = chart.timeScale().getVisibleLogicalRange();
      chart.remove();
      chart = drawn(element, curves, unit);
      if (shown) chart.timeScale().setVisibleLogicalRange(shown);
    });
    requestAnimationFrame(drawnNow);
    return () => {
      drawnNow();
      stop();
      chart.remove();
    };
  }, [curves, unit, shown]);
  return (
    <figure aria-label={label} class={small ? "curve small" : "curve"}>
      <figcaption>
        <strong>{label}</strong>
        {curves.length > 1 && (
          <ul class="legend">
            {curves.map((curve) => (
              <li key={curve.name} class={`key-${curve.colour}`}>
                {curve.name}
              </li>
            ))}
          </ul>
        )}
        <span class="hint">{summary}</span>
      </figcaption>
      <div class="canvas" aria-hidden="true" ref={frame} />
    </figure>
  );
}

function drawn(element: HTMLElement, curves: readonly Curve[], unit: string): IChartApi {
  const chart = createChart(element, chartOptions());
  const priceFormat = { type: "custom" as const, minMove: 0.01, formatter: (value: number) => `${value.toLocaleString("en-US", { maximumFractionDigits: 2 })}${unit}` };
  for (const curve of curves) {
    const line = colour(curve.colour);
    const common = { priceFormat, priceLineVisible: false, lastValueVisible: false } as const;
    const series = curve.isArea
      ? chart.addSeries(AreaSeries, { ...common, lineColor: line, topColor: `${line}10`, bottomColor: `${line}60`, lineWidth: 1, invertFilledArea: true })
      : chart.addSeries(LineSeries, { ...common, color: line, lineWidth: 2 });
    series.setData(pointsOf(curve));
  }
  chart.timeScale().fitContent();
  return chart;
}

/** Times must rise: of points at one moment the last counts. */
function pointsOf({ time, value }: Curve): { time: UTCTimestamp; value: number }[] {
  const points: { time: UTCTimestamp; value: number }[] = [];
  for (let row = 0; row < time.length; row += 1) {
    const [at, here] = [time[row] as UTCTimestamp, value[row]];
    if (typeof here !== "number") continue;
    if (points.at(-1)?.time === at) points.pop();
    points.push({ time: at, value: here });
  }
  return points;
}
