// Where the page's figures come from: the API, or the data inside a report. The screens ask one `Source` and know nothing
// of which it is.
//
// THE EMBEDDED JSON of a report, `<script type="application/json" id="backtest-data">`, is one object. Each key is an
// answer of the API, unchanged, for one run, its run view:
//
//   "run"         GET /v1/backtest/{id}; required, and all else may be left out
//   "trades"      GET .../trades: {"items": [...]} with every row (next_cursor is not read), or the same rows as a table,
//                 {"columns": [...], NAME: [...], ...}, which is shorter
//   "equity", "drawdown", "monthly"   the tables of those routes; max_points 4000 is plenty
//   "candles"     GET .../candles of the whole range at the run's timeframe, or at a coarser one where they are thinned
//   "timeframes"  {"H4": [...], "D1": [...]}: the opens of the coarser candles, those that the API would give for the run's
//                 range. The page makes those candles of "candles", so that only their times need to travel
//   "indicators"  GET .../indicators of the whole range at the timeframe of "candles"
//   "analytics"   {"pattern_name": {...}, "direction": {...}, ...}: GET .../analytics?by=NAME
//   "compare"     for --compare: [{"run": ..., "equity": ...}, ...], each as above, the run of the report among them
//   "thinned"     null, or the words to show, "thinned to M15"
//   "left_out"    names of what is not there so that the file stays small: "indicators", "volume", "trades"
//   "generated_at"  when the report was written, RFC 3339
//
// Any column of numbers may be packed: {"scale": 100000, "deltas": [113254, 12, -7]} (see packed.ts). Times in tables are
// RFC 3339 texts, as the API has them, or epoch seconds, which pack. `<` is written \u003c inside the element.
import type { FieldError, Problem } from "./types";

export type Query = Record<string, string | number | null | undefined>;

export interface Source {
  /** Whether the figures are inside this file: nothing can be asked, changed or followed. */
  readonly embedded: boolean;
  /** The finest candles that can be had, where those are not the run's. */
  readonly candleTimeframe?: string;
  /** The timeframes of candles, where not all that the run's own divides can be had. */
  readonly timeframes?: readonly string[];
  /** `path` begins behind /v1, as in "/backtest/7". Throws ApiError, Unreachable. */
  get<T>(path: string, query?: Query): Promise<T>;
}

/** The API refused, and said why. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.detail || problem.title || `the server answered ${status}`);
  }
}

/** Every mistake that the API names. A parameter's own field is written as the request has it, `strategy_params.fast`: the
 * strategy that found it at fault knows only itself. */
export function detailsOf(error: unknown): FieldError[] {
  const details = error instanceof ApiError ? (error.problem.details ?? []) : [];
  return details.map((each) => (each.code === "invalid_params" && !/^(strategy_params|param_grid|strategy_key|symbols)(\.|$)/.test(each.field) ? { ...each, field: `strategy_params.${each.field}` } : each));
}

/** No answer came: the connection is gone, or the server is. */
export class Unreachable extends Error {}

export function queryText(query: Query = {}): string {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") words.set(name, String(value));
  }
  const text = words.toString();
  return text ? `?${text}` : "";
}
