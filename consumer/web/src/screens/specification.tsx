// What a backtest and a search have in common: strategy, data, range, mode, costs, size.
import { useEffect, useRef, useState } from "preact/hooks";
import { byLength } from "../core/bar_files";
import { api } from "../core/http_source";
import { later } from "../core/later";
import { useLoad } from "../core/load";
import { place, setQuery } from "../core/router";
import { numberOf } from "../core/schema";
import { detailsOf } from "../core/source";
import type { Json, MarketData, Page, Strategy, StrategyKey } from "../core/types";
import { isoText, typedTime } from "../core/zones";
import { type Choice, SelectField, TextField } from "../parts/fields";

/** As typed. An empty one takes the server's default. */
export interface Specification {
  strategy: string;
  symbol: string;
  timeframe: string;
  start: string;
  end: string;
  mode: string;
  spread: string;
  commission: string;
  balance: string;
  volume: string;
}

export const IN_ADDRESS = ["strategy", "symbol", "timeframe", "start", "end", "mode", "spread", "commission", "balance", "volume"] as const;
export const EMPTY: Specification = { strategy: "", symbol: "", timeframe: "", start: "", end: "", mode: "close_price", spread: "1.5", commission: "0", balance: "10000", volume: "" };

/** Field of a request -> where it was typed. */
const FIELDS: Readonly<Record<string, keyof Specification>> = {
  strategy_id: "strategy",
  symbol: "symbol",
  timeframe: "timeframe",
  start_date: "start",
  end_date: "end",
  execution_mode: "mode",
  spread_pips: "spread",
  commission_per_lot: "commission",
  initial_balance: "balance",
  volume: "volume",
};

const MODES: Readonly<Record<string, string>> = {
  close_price: "everything at closes",
  intra_candle: "stops and targets inside the bar",
  next_open: "entries at the next open",
};

export interface Refusals {
  of: (name: keyof Specification) => string | undefined;
  /** By the request's field, as `strategy_params.fast`. */
  at: (field: string) => string | undefined;
  /** What belongs to no field that is on screen. */
  others: string[];
}

export const NONE: Refusals = { of: () => undefined, at: () => undefined, others: [] };

/** The server's words, each at its field. `known`: further fields that are on screen. */
export function refusalsOf(error: Error, known: (field: string) => boolean): Refusals {
  const details = detailsOf(error);
  const at = (field: string) => {
    const found = details.filter((each) => each.field === field || each.field.startsWith(`${field}.`));
    return found.length ? [...new Set(found.map(({ message }) => message))].join("; ") : undefined;
  };
  const of = (name: keyof Specification) => {
    const field = Object.keys(FIELDS).find((each) => FIELDS[each] === name);
    return field && at(field);
  };
  const others = details.filter(({ field }) => !(field.split(".")[0] as string in FIELDS) && !known(field)).map(({ field, message }) => (field ? `${field}: ${message}` : message));
  return { of, at, others: details.length ? others : [error.message] };
}

/** The request's fields. What is empty is left out; what is no number goes as it was typed, for the server to judge. */
export function requestOf(typedIn: Specification): Record<string, Json> {
  const body: Record<string, Json> = {};
  for (const [field, name] of Object.entries(FIELDS)) {
    const text = typedIn[name].trim();
    if (!text) continue;
    if (name === "start" || name === "end") {
      const at = typedTime(text);
      body[field] = at === null ? text : isoText(at);
    } else body[field] = name === "symbol" || name === "timeframe" || name === "mode" ? text : numberOf(text);
  }
  return body;
}

export interface Stored {
  strategies: readonly Strategy[];
  data: readonly MarketData[];
}

export function useStored(version: number): ReturnType<typeof useLoad<Stored>> {
  return useLoad("what is stored", loadStored, version);
}

async function loadStored(): Promise<Stored> {
  const [strategies, data] = await Promise.all([everything<Strategy>("/strategies"), everything<MarketData>("/market-data")]);
  return { strategies, data };
}

export async function everything<T>(path: string): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<T> = (await api.get<Page<T>>(path, { cursor, limit: cursor === null ? null : 500 })).body;
    found.push(...page.items);
    cursor = page.next_cursor ?? null;
  } while (cursor);
  return found;
}

/** The schema of a strategy's parameters; null where it has no code. */
export function useStrategyKey(key: string | null | undefined) {
  return useLoad<StrategyKey | null>(key ? `key ${key}` : "", async () => (await api.get<StrategyKey>(`/strategy-keys/${encodeURIComponent(key ?? "")}`)).body);
}

export function usePreview(symbol: string, timeframe: string, version: number) {
  return useLoad<MarketData>(symbol && timeframe ? `data ${symbol} ${timeframe}` : "", async () => (await api.get<MarketData>(`/market-data/${encodeURIComponent(symbol)}/${encodeURIComponent(timeframe)}`)).body, version);
}

/** Remembered in this browser under that name. */
export function useRemembered<T extends object>(name: string, empty: T): [T, (changes: Partial<T>) => void] {
  const [value, setValue] = useState<T>(() => ({ ...empty, ...recalled(name) }));
  useEffect(() => {
    try {
      localStorage.setItem(name, JSON.stringify(value));
    } catch {
      // Without storage nothing is remembered.
    }
  }, [value]);
  return [value, (changes) => setValue((before) => ({ ...before, ...changes }))];
}

function recalled(name: string): object {
  try {
    return (JSON.parse(localStorage.getItem(name) ?? "{}") as object | null) ?? {};
  } catch {
    return {};
  }
}

/** A form stands in the address too, so that it can be shared; what the address says goes before what is remembered.
 * `words`: what stands there, empty ones left out. `take` is given what the address said at first, if anything. */
export function useFormInAddress(path: string, words: Readonly<Record<string, string>>, take: (given: Readonly<Record<string, string>>) => void): void {
  useEffect(() => {
    const { zone, ...given } = Object.fromEntries(place.peek().query);
    if (Object.keys(given).length) take(given);
  }, []);
  const isFirst = useRef(true);
  const text = JSON.stringify(words);
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false;
      return undefined;
    }
    return later(300, () => {
      const { path: here, query } = place.peek();
      if (here === path) setQuery({ ...Object.fromEntries([...query.keys()].filter((name) => name !== "zone").map((name) => [name, null])), ...words });
    });
  }, [text]);
}

/** Words of an address, of what is not as in `empty`. */
export function wordsOf<T extends object>(typedIn: T, empty: T, names: readonly (keyof T & string)[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, typedIn[name] === empty[name] ? "" : String(typedIn[name])]));
}

/** {"fast": "7"} <-> {"p.fast": "7"}: names that a strategy chose cannot meet those of the form. */
export function prefixed(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`p.${name}`, value]));
}

export function unprefixed(words: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(words).filter(([name]) => name.startsWith("p.")).map(([name, value]) => [name.slice(2), value]));
}

/** First and last moment of what is stored, where it says so. */
export function rangeOf(data: MarketData | null): { first: string; last: string } | null {
  return data?.first && data.last ? { first: data.first, last: data.last } : null;
}

interface Props {
  stored: Stored;
  typedIn: Specification;
  onTyped: (changes: Partial<Specification>) => void;
  refusals: Refusals;
  preview: MarketData | null;
}

export function SpecificationFields({ stored, typedIn, onTyped, refusals, preview }: Props) {
  const symbols = [...new Set(stored.data.map(({ symbol }) => symbol))].sort();
  const timeframes = stored.data.filter(({ symbol }) => symbol === typedIn.symbol).map(({ timeframe }) => timeframe).sort(byLength);
  const text = (name: keyof Specification, label: string, more: { hint?: string; placeholder?: string } = {}) => (
    <TextField label={label} value={typedIn[name]} error={refusals.of(name)} onValue={(value) => onTyped({ [name]: value })} numeric={name === "spread" || name === "commission" || name === "balance" || name === "volume"} {...more} />
  );
  const toSymbol = (symbol: string) => {
    const own = stored.data.filter((each) => each.symbol === symbol).map(({ timeframe }) => timeframe);
    onTyped({ symbol, ...(own.includes(typedIn.timeframe) ? {} : { timeframe: own.sort(byLength)[0] ?? typedIn.timeframe }) });
  };
  const range = rangeOf(preview);
  return (
    <>
      <fieldset>
        <legend>What to run</legend>
        <div class="fields">
          <SelectField label="Strategy" value={typedIn.strategy} error={refusals.of("strategy")} choices={[["", "choose"], ...stored.strategies.map(({ id, name }): Choice => [String(id), name])]} onValue={(strategy) => onTyped({ strategy })} />
          <SelectField label="Symbol" value={typedIn.symbol} error={refusals.of("symbol")} choices={[["", "choose"], ...symbols.map((name): Choice => [name, name])]} onValue={toSymbol} />
          <SelectField label="Timeframe" value={typedIn.timeframe} error={refusals.of("timeframe")} choices={[["", "the strategy's"], ...timeframes.map((name): Choice => [name, name])]} onValue={(timeframe) => onTyped({ timeframe })} />
          {text("start", "Start", { hint: `UTC, included${range ? `; data begin ${minute(range.first)}` : ""}`, placeholder: "2019-01-01" })}
          {text("end", "End", { hint: `UTC, excluded${range ? `; data end ${minute(range.last)}` : ""}`, placeholder: "2020-01-01" })}
        </div>
        {range && (
          <button type="button" class="quiet" onClick={() => onTyped({ start: minute(range.first), end: dayAfter(range.last) })}>
            Whole range
          </button>
        )}
      </fieldset>
      <fieldset>
        <legend>How it is filled, and what it costs</legend>
        <div class="fields">
          <SelectField label="Mode" value={typedIn.mode} error={refusals.of("mode")} hint={MODES[typedIn.mode]} choices={Object.keys(MODES).map((name): Choice => [name, name])} onValue={(mode) => onTyped({ mode })} />
          {text("spread", "Spread (pips)")}
          {text("commission", "Commission per lot", { hint: "account currency, both sides together" })}
          {text("balance", "Initial balance", { hint: "account currency" })}
          {text("volume", "Volume", { hint: "lots; empty: what the strategy says", placeholder: "the strategy's" })}
        </div>
      </fieldset>
    </>
  );
}

function minute(time: string): string {
  return isoText(Date.parse(time) / 1000).slice(0, 16).replace("T", " ");
}

/** The end is excluded: the last bar must lie before it. */
function dayAfter(time: string): string {
  return isoText((Math.floor(Date.parse(time) / 86_400_000) + 1) * 86_400).slice(0, 10);
}
