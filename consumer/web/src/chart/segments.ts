// Lines from one moment to another as a primitive of the chart library, which has none for many short ones: a series joins
// all of its points.
import type { CanvasRenderingTarget2D } from "fancy-canvas";
import type { IChartApi, ISeriesApi, ISeriesPrimitive, SeriesAttachedParameter, SeriesType, Time } from "lightweight-charts";
import { colour } from "./look";
import type { ShownLine } from "./positions";

export class Segments implements ISeriesPrimitive<Time> {
  private lines: readonly ShownLine[] = [];
  private selected: number | null = null;
  private chart: IChartApi | null = null;
  private series: ISeriesApi<SeriesType> | null = null;
  private redraw: () => void = () => undefined;
  private readonly views = [{ renderer: () => ({ draw: (target: CanvasRenderingTarget2D) => this.draw(target) }), zOrder: () => "top" as const }];

  attached({ chart, series, requestUpdate }: SeriesAttachedParameter<Time>): void {
    this.chart = chart as IChartApi;
    this.series = series;
    this.redraw = requestUpdate;
  }

  detached(): void {
    this.chart = this.series = null;
  }

  show(lines: readonly ShownLine[], selected: number | null): void {
    this.lines = lines;
    this.selected = selected;
    this.redraw();
  }

  paneViews() {
    return this.views;
  }

  private draw(target: CanvasRenderingTarget2D): void {
    const { chart, series } = this;
    if (!chart || !series) return;
    const scale = chart.timeScale();
    const range = scale.getVisibleRange();
    if (!range) return;
    const [first, last] = [Number(range.from), Number(range.to)];
    const colours = { stop: colour("stop"), target: colour("target"), win: colour("win"), loss: colour("loss"), open: colour("text-soft") };
    target.useBitmapCoordinateSpace(({ context, horizontalPixelRatio: across, verticalPixelRatio: down }) => {
      for (const { kind, from, to, price, toPrice, profit, trade } of this.lines) {
        if (to < first || from > last) continue;
        const [x, x2] = [scale.timeToCoordinate(from as unknown as Time), scale.timeToCoordinate(to as unknown as Time)];
        const [y, y2] = [series.priceToCoordinate(price), series.priceToCoordinate(toPrice)];
        if (x === null || x2 === null || y === null || y2 === null) continue;
        context.strokeStyle = kind !== "trade" ? colours[kind] : profit === null ? colours.open : profit > 0 ? colours.win : colours.loss;
        context.lineWidth = (trade === this.selected ? 2.5 : 1.25) * across;
        context.setLineDash(kind === "trade" ? [] : [4 * across, 3 * across]);
        context.beginPath();
        context.moveTo(x * across, y * down);
        context.lineTo(x2 * across, y2 * down);
        context.stroke();
      }
    });
  }
}
