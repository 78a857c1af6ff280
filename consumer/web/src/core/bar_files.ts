// What a dropped file of bars is, as far as its name and its first lines say: the server reads it properly.
import { secondsOf, TIMEFRAMES, timeframeOfSeconds } from "./timeframes";

const PEEK_BYTES = 65_536;

/** The timeframe of the bars: by the commonest distance of their times, else by the file's name; null: neither tells. */
export async function timeframeOfFile(file: File): Promise<string | null> {
  const isText = !/\.(parquet|feather|arrow|zip|gz|zst)$/i.test(file.name);
  const told = isText ? timeframeOfText(await file.slice(0, PEEK_BYTES).text()) : null;
  return told ?? timeframeOfName(file.name);
}

/** eurusd_h1.csv -> H1, EURUSDM15.csv -> M15, EURUSD60.csv of MetaTrader 4 -> H1 */
export function timeframeOfName(name: string): string | null {
  const stem = name.replace(/(\.\w+)+$/, "").toUpperCase();
  const found = /(?:^|[^A-Z0-9]|[A-Z]{6})(MN1|[MHDW]\d{1,2})(?=$|[^A-Z0-9])/.exec(stem)?.[1];
  if (found && TIMEFRAMES.includes(found)) return found;
  if (/DAILY/.test(stem)) return "D1";
  const minutes = /^[A-Z]{6}(\d{1,5})$/.exec(stem)?.[1];
  return minutes ? timeframeOfSeconds(Number(minutes) * 60) : null;
}

export function timeframeOfText(text: string): string | null {
  const times = text.split(/\r?\n/).map(timeOfLine).filter((time): time is number => time !== null);
  const counts = new Map<number, number>();
  for (let row = 1; row < times.length; row += 1) {
    const step = Math.abs((times[row] as number) - (times[row - 1] as number));
    if (step > 0) counts.set(step, (counts.get(step) ?? 0) + 1);
  }
  const [step] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [];
  return step === undefined ? null : timeframeOfSeconds(step);
}

/** Epoch seconds of the time a line begins with, in whatever zone: only distances count. */
function timeOfLine(line: string): number | null {
  const number = /^"?(\d{9,19})\b/.exec(line)?.[1];
  if (number) return Math.round(Number(number) / 10 ** Math.max(0, 3 * Math.ceil((number.length - 10) / 3)));
  const iso = /^\D{0,2}(\d{4})[-.\/]?(\d{2})[-.\/]?(\d{2})(?:[T ,;\t]+(\d{1,2}):?(\d{2})(?::?(\d{2}))?)?/.exec(line);
  if (iso) return utc(iso[1], iso[2], iso[3], iso[4], iso[5], iso[6]);
  const dmy = /^\D{0,2}(\d{2})[-.\/](\d{2})[-.\/](\d{4})(?:[T ,;\t]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?/.exec(line);
  if (dmy) return utc(dmy[3], dmy[2], dmy[1], dmy[4], dmy[5], dmy[6]);
  return null;
}

function utc(...parts: (string | undefined)[]): number {
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = parts.map((part) => Number(part ?? 0));
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000;
}

/** Finest first. */
export function byLength(a: string, b: string): number {
  return secondsOf(a) - secondsOf(b);
}
