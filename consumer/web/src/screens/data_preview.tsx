// What is stored of a symbol at a timeframe: range, gaps, zone.
import type { Json, MarketData } from "../core/types";
import { zoneLabel } from "../core/zones";
import { Time } from "../parts/shown";

const TIMES = new Set(["first", "last", "longest_gap_after"]);
const SHOWN: readonly (readonly [string, string])[] = [
  ["first", "First bar"],
  ["last", "Last bar"],
  ["bars", "Bars"],
  ["gaps", "Gaps of the trading week"],
  ["missing_bars", "Bars missing in them"],
  ["longest_gap_bars", "Longest gap, bars"],
  ["longest_gap_after", "Longest gap, after"],
  ["zone", "Zone of the file"],
];

export function DataPreview({ data, what }: { data: MarketData | null; what: string }) {
  const facts = data ? flat(data) : {};
  const notes = [facts["warnings"], facts["notes"], facts["fault"]].flatMap((each) => (Array.isArray(each) ? each.map(String) : typeof each === "string" ? [each] : []));
  return (
    <section aria-label="Data preview" class="card">
      <h2>Data preview</h2>
      {data ? (
        <>
          <p>
            {data.symbol} {data.timeframe}, times in {zoneLabel.value}
          </p>
          <dl class="facts">
            {SHOWN.filter(([name]) => name in facts).map(([name, title]) => (
              <div key={name}>
                <dt>{title}</dt>
                <dd>{TIMES.has(name) && facts[name] !== null ? <Time at={facts[name] as string} /> : name === "zone" && !facts[name] ? "not recorded; times are stored in UTC" : textOf(facts[name])}</dd>
              </div>
            ))}
          </dl>
          {notes.length > 0 && (
            <ul class="notes">
              {notes.map((each) => (
                <li key={each}>{each}</li>
              ))}
            </ul>
          )}
        </>
      ) : (
        <p class="none">{what}</p>
      )}
    </section>
  );
}

/** The answer's own fields, and those of its passport that they do not say. */
export function flat(data: MarketData): Record<string, Json> {
  return { ...data.passport, ...data };
}

function textOf(value: Json | undefined): string {
  if (value === null || value === undefined) return "none";
  return typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? value.toLocaleString("en-US") : String(value);
}
