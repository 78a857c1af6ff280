// Times in the zone a person chose. All times are kept as epoch seconds and turned to text here alone.
import { computed, signal } from "@preact/signals";
import { place, setQuery } from "./router";

export type Zone = "utc" | "new_york" | "data" | "local";
export const ZONES: readonly (readonly [Zone, string])[] = [
  ["utc", "UTC"],
  ["new_york", "New York"],
  ["data", "The data's"],
  ["local", "Local"],
];

/** The zone of the data on screen, as the store has it: "Europe/Athens", "America/New_York+7". null: none is known, UTC. */
export const dataZone = signal<string | null>(null);

export const zone = computed<Zone>(() => {
  const named = place.value.query.get("zone");
  return ZONES.some(([each]) => each === named) ? (named as Zone) : "utc";
});

export function setZone(chosen: Zone): void {
  setQuery({ zone: chosen });
}

/** An IANA name, and hours to add to its clock. */
interface Clock {
  name: string;
  hours: number;
}

const clock = computed<Clock>(() => clockOf(zone.value, dataZone.value));

export function clockOf(chosen: Zone, data: string | null): Clock {
  if (chosen === "new_york") return { name: "America/New_York", hours: 0 };
  if (chosen === "local") return { name: Intl.DateTimeFormat().resolvedOptions().timeZone, hours: 0 };
  if (chosen !== "data" || !data) return { name: "UTC", hours: 0 };
  const [, name = "UTC", hours = "0"] = /^(.*?)([+-]\d+(?:\.\d+)?)?$/.exec(data) ?? [];
  return isZone(name) ? { name, hours: Number(hours) } : { name: "UTC", hours: 0 };
}

/** What stands beside times: "UTC", "New York", "Europe/Athens (the data's)". */
export const zoneLabel = computed(() => {
  if (zone.value === "data") return dataZone.value ? `${dataZone.value} (the data's)` : "UTC (the data's)";
  if (zone.value === "local") return `${clock.value.name} (local)`;
  return zone.value === "utc" ? "UTC" : "New York";
});

/** 2019-01-31 14:05, with seconds where there are any. null and what is no time: "". */
export function timeText(time: number | string | null | undefined): string {
  const at = secondsFrom(time);
  if (at === null) return "";
  const [date, minute, second] = parts(at, clock.value);
  return second === "00" ? `${date} ${minute}` : `${date} ${minute}:${second}`;
}

export function dateText(time: number | string | null | undefined): string {
  const at = secondsFrom(time);
  return at === null ? "" : parts(at, clock.value)[0];
}

/** Date, hour and minute, second, on that clock. */
export function parts(at: number, { name, hours }: Clock): [string, string, string] {
  const told = Object.fromEntries(formatter(name).formatToParts((at + hours * 3600) * 1000).map(({ type, value }) => [type, value]));
  return [`${told["year"]}-${told["month"]}-${told["day"]}`, `${told["hour"]}:${told["minute"]}`, told["second"] ?? "00"];
}

export function clockNow(): Clock {
  return clock.value;
}

function secondsFrom(time: number | string | null | undefined): number | null {
  if (time === null || time === undefined || time === "") return null;
  const at = typeof time === "number" ? time : Date.parse(time) / 1000;
  return Number.isFinite(at) ? at : null;
}

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatter(name: string): Intl.DateTimeFormat {
  let made = formatters.get(name);
  if (!made) {
    made = new Intl.DateTimeFormat("en-CA", {
      timeZone: name,
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      hourCycle: "h23",
    });
    formatters.set(name, made);
  }
  return made;
}

function isZone(name: string): boolean {
  try {
    return Boolean(formatter(name));
  } catch {
    return false;
  }
}

/** Epoch seconds of what a person typed: 2019-01-31, 2019-01-31 14:05, RFC 3339, epoch seconds. Without an offset it is UTC.
 * null: it is no time. */
export function typedTime(text: string): number | null {
  const trimmed = text.trim();
  if (/^\d{9,11}$/.test(trimmed)) return Number(trimmed);
  const found = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?\s*(Z|UTC|[+-]\d{2}:?\d{2})?$/i.exec(trimmed);
  if (!found) return null;
  const [, date, time = "00:00", offset = "Z"] = found;
  const at = Date.parse(`${date}T${time}${/^(utc|z)$/i.test(offset) ? "Z" : offset}`) / 1000;
  return Number.isFinite(at) ? at : null;
}

/** RFC 3339 in UTC. */
export function isoText(at: number): string {
  return new Date(at * 1000).toISOString().replace(".000Z", "Z");
}
