// What is stored of a symbol at a timeframe: range, gaps, zone.
import { words } from "../core/figures";
import type { Json, MarketData } from "../core/types";
import { Time } from "../parts/shown";

const TIMES = new Set(["from", "to", "first", "last", "start", "end", "first_time", "last_time", "longest_gap_after", "first_outlier"]);
const KEY = ["first_time", "first", "from", "start", "last_time", "last", "to", "end", "count", "bars", "gaps", "missing_bars", "longest_gap_bars", "longest_gap_after", "zone", "timezone"];

export function DataPreview({ data, what }: { data: MarketData | null; what: string }) {
  const facts = data ? flat(data) : {};
  const shown = KEY.filter((name) => name in facts);
  const notes = [facts["warnings"], facts["notes"]].flatMap((each) => (Array.isArray(each) ? each.map(String) : []));
  return (
    <section aria-label="Data preview" class="card">
      <h2>Data preview</h2>
      {data ? (
        <>
          <p>
            {data.symbol} {data.timeframe}
          </p>
          <dl class="facts">
            {shown.map((name) => (
              <div key={name}>
                <dt>{words(name)}</dt>
                <dd>{TIMES.has(name) && facts[name] !== null ? <Time at={facts[name] as string} /> : textOf(facts[name])}</dd>
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

/** The answer's own fields, and those of its passport and range where they are not said above. */
export function flat(data: MarketData): Record<string, Json> {
  const inner = ["passport", "range"].map((name) => data[name]).filter((each): each is Record<string, Json> => typeof each === "object" && each !== null && !Array.isArray(each));
  return Object.assign({}, ...inner, data) as Record<string, Json>;
}

function textOf(value: Json | undefined): string {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value)) return String(value.length);
  return typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? value.toLocaleString("en-US") : String(value);
}
