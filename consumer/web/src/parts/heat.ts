// Colours of cells: nine steps from loss to gain, as classes, since a policy of ours forbids styles in place. The figure
// stands in the cell too: colour alone tells nothing.

/** By value's share of the largest that there is. */
export function heatClass(value: number | null | undefined, most: number): string {
  if (value === null || value === undefined || !Number.isFinite(value) || most <= 0) return "";
  const step = Math.min(4, Math.ceil((Math.abs(value) / most) * 4));
  return step === 0 ? "heat-0" : value > 0 ? `heat-up-${step}` : `heat-down-${step}`;
}

/** By its place between the smallest and the largest; the best is the most coloured. */
export function scaleClass(value: number | null | undefined, least: number, most: number, higherIsBetter: boolean): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "";
  const share = most > least ? (value - least) / (most - least) : 0.5;
  const good = higherIsBetter ? share : 1 - share;
  const step = Math.round(good * 8) - 4;
  return step === 0 ? "heat-0" : step > 0 ? `heat-up-${step}` : `heat-down-${-step}`;
}
