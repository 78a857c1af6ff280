// A context timeframe beside the price chart: at every moment only what the strategy could see of it, and the candle at work.
import { CandlestickSeries, createChart } from "lightweight-charts";
import type { UTCTimestamp } from "lightweight-charts";
import { useEffect, useRef } from "preact/hooks";
import type { Bar } from "../core/types";
import { chartOptions, colour, onLookChange } from "./look";
import type { PriceChart } from "./price_chart";

const BARS = 120;

export function ContextChart({ timeframe, chart }: { timeframe: string; chart: PriceChart }) {
  const frame = useRef<HTMLDivElement>(null);
  const at = chart.replaying.value ? chart.cursor.value : (chart.visible.value?.to ?? null);
  const show = useRef<(bars: readonly Bar[]) => void>(() => undefined);
  useEffect(() => {
    if (!frame.current) return;
    const made = createChart(frame.current, chartOptions());
    const look = () => ({ upColor: colour("up"), downColor: colour("down"), wickUpColor: colour("up"), wickDownColor: colour("down"), borderVisible: false });
    const series = made.addSeries(CandlestickSeries, { ...look(), priceFormat: { type: "price", precision: chart.digits, minMove: 10 ** -chart.digits } });
    const stop = onLookChange(() => {
      made.applyOptions(chartOptions());
      series.applyOptions(look());
    });
    show.current = (bars) => {
      series.setData(bars.map(({ time, open, high, low, close }) => ({ time: time as UTCTimestamp, open, high, low, close })));
      made.timeScale().setVisibleLogicalRange({ from: bars.length - 60, to: bars.length + 1 });
    };
    return () => {
      stop();
      made.remove();
    };
  }, [timeframe]);
  useEffect(() => {
    if (at === null) return;
    let isCurrent = true;
    void chart.contextUpTo(timeframe, at, BARS).then(
      (bars) => isCurrent && show.current(bars),
      () => undefined,
    );
    return () => {
      isCurrent = false;
    };
  }, [timeframe, at, chart]);
  return (
    <figure aria-label={`Context ${timeframe}`} class="context">
      <figcaption>Context {timeframe}, the last candle as it stands at that moment</figcaption>
      <div class="canvas" aria-hidden="true" ref={frame} />
    </figure>
  );
}
