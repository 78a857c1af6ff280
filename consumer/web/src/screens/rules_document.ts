// The document of a strategy of rules: its parameters, and where in it the server saw a mistake.
import type { Parameter } from "../core/schema";
import type { FieldError, Json } from "../core/types";

export const TEMPLATE = `{
  "params": {"fast": 10, "slow": 30},
  "indicators": {"f": "sma(close, fast)", "s": "sma(close, slow)"},
  "buy": "crosses_above(f, s)",
  "sell": "crosses_below(f, s)",
  "stop_loss": "2 * atr(14)",
  "take_profit": "4 * atr(14)"
}`;

export function documentParameters(document: Readonly<Record<string, Json>>): Parameter[] {
  const params = document["params"];
  if (params === null || typeof params !== "object" || Array.isArray(params)) return [];
  return Object.entries(params).map(([name, value]) => ({ name, schema: { type: "number" }, standard: value ?? undefined, hint: `default ${String(value)}`, choices: null, isList: false }));
}

/** A mistake in the text of the document: its line and column, both from 1, as far as they can be told. */
export interface Place {
  line: number;
  column: number;
}

/** Where `error` points at in `text`: the column counts inside the named field's value. */
export function placeOf(text: string, error: FieldError): Place | null {
  const field = error.field.replace(/^strategy_params\.?/, "");
  const start = startOfField(text, field.split(".").filter(Boolean));
  if (start === null) return null;
  const column = /column (\d+)/.exec(error.message)?.[1];
  return lineAndColumn(text, start + (column ? Number(column) - 1 : 0));
}

/** What JSON itself says of the text; null: it is an object. */
export function jsonError(text: string): { message: string; place: Place | null } | null {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? null : { message: "the document must be an object", place: { line: 1, column: 1 } };
  } catch (error) {
    const message = (error as Error).message;
    const at = /position (\d+)/.exec(message)?.[1];
    return { message: `not JSON: ${message}`, place: at ? lineAndColumn(text, Number(at)) : null };
  }
}

/** Offset of the value of a field, its quotation mark aside; goes along the keys in order. */
function startOfField(text: string, path: readonly string[]): number | null {
  let at = 0;
  for (const name of path) {
    if (/^\d+$/.test(name)) {
      at = startOfItem(text, at, Number(name));
      continue;
    }
    const key = new RegExp(`"${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}"\\s*:\\s*`, "g");
    key.lastIndex = at;
    const found = key.exec(text);
    if (!found) return null;
    at = key.lastIndex;
  }
  return text[at] === '"' ? at + 1 : at;
}

function startOfItem(text: string, from: number, index: number): number {
  let at = text.indexOf("[", from) + 1;
  for (let item = 0; item < index; item += 1) at = text.indexOf(",", at) + 1;
  while (/\s/.test(text[at] ?? "")) at += 1;
  return at;
}

export function lineAndColumn(text: string, offset: number): Place {
  const before = text.slice(0, offset).split("\n");
  return { line: before.length, column: (before.at(-1) ?? "").length + 1 };
}

export function offsetOf(text: string, { line, column }: Place): number {
  return text.split("\n").slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0) + column - 1;
}
