// Candle lengths by name, as the engine has them.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Seconds, nominal; finest first. A month is the mean one. */
const SECONDS: ReadonlyMap<string, number> = new Map([
  ...[1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30].map((count): [string, number] => [`M${count}`, count * MINUTE]),
  ...[1, 2, 3, 4, 6, 8, 12].map((count): [string, number] => [`H${count}`, count * HOUR]),
  ["D1", DAY],
  ["W1", 7 * DAY],
  ["MN1", 30.4375 * DAY],
]);

export const TIMEFRAMES: readonly string[] = [...SECONDS.keys()];

/** 0 for a name nobody knows. */
export function secondsOf(timeframe: string): number {
  return SECONDS.get(timeframe) ?? 0;
}

/** The timeframes a chart of a run can show: its own, and those made of whole bars of it. */
export function coarserOrEqual(timeframe: string): string[] {
  const own = secondsOf(timeframe);
  return TIMEFRAMES.filter((name) => name === timeframe || (secondsOf(name) > own && wholeSeconds(name) % own === 0));
}

function wholeSeconds(name: string): number {
  return name === "MN1" ? DAY : secondsOf(name);
}

/** The finest of `names` of which a range of that many seconds has at most `bars`, nominally. */
export function finestThatFits(names: readonly string[], seconds: number, bars: number): string {
  return names.find((name) => seconds / secondsOf(name) <= bars) ?? names.at(-1) ?? "";
}

/** The timeframe whose length is that many seconds, or null. */
export function timeframeOfSeconds(seconds: number): string | null {
  for (const [name, length] of SECONDS) if (length === seconds) return name;
  if (seconds >= 28 * DAY && seconds <= 31 * DAY) return "MN1";
  return null;
}
