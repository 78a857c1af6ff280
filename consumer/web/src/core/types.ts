// What the API answers, as far as the page reads it. Names are the API's.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Status = "pending" | "running" | "completed" | "failed" | "cancelled";

/** One page of a list. next_cursor: null at its end. */
export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

/** One mistake in what was sent, in the words that the topic and the command line use too. */
export interface FieldError {
  field: string;
  code: string;
  message: string;
}

/** RFC 9457. details: every field at fault. */
export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail?: string;
  code?: string;
  details?: FieldError[];
  [more: string]: unknown;
}

/** Figures by name, as `backtest run --json` prints them; a figure is null where null_reasons says why. */
export interface Metrics {
  null_reasons?: Record<string, string>;
  warnings?: string[];
  data_passport?: Record<string, Json>;
  result_digest?: string;
  [name: string]: Json | undefined;
}

export interface Run {
  run_id: number;
  strategy_id: number;
  strategy_name: string | null;
  strategy_key: string | null;
  symbol: string;
  timeframe: string;
  start_date: string;
  end_date: string;
  status: Status;
  progress_pct: number;
  error_message: string | null;
  created_at: string;
  initial_balance: number;
  execution_mode: string;
  spread_pips: number;
  commission_per_lot: number;
  total_trades: number | null;
  context_tfs: string[];
  [column: string]: unknown;
}

export interface RunDetail extends Run {
  metrics?: Metrics | null;
  /** The figures of trades by side, next to those of all. */
  all?: Record<string, number | null>;
  long?: Record<string, number | null>;
  short?: Record<string, number | null>;
  drawdowns?: Drawdown[];
  request?: Record<string, Json> | null;
  attempts?: Json;
  /** What the rule of a run with a language model earned without it. run_id: null where that is no run of the database. */
  rule_alone?: { run_id: number | null; net_profit: number; total_trades: number | null } | null;
}

/** recovered: null while it lasts at the end. */
export interface Drawdown {
  percent: number;
  amount: number;
  peak: string;
  trough: string;
  recovered: string | null;
}

/** One exit. Rows of one position share position_id; times are the opens of the bars of the fills. */
export interface Trade {
  position_id: number;
  direction: "BUY" | "SELL";
  entry_time: string;
  exit_time: string;
  entry_price: number;
  exit_price: number;
  volume: number;
  profit: number;
  commission: number;
  spread_cost: number;
  swap: number;
  equity_after: number;
  stop_loss: number | null;
  take_profit: number | null;
  exit_reason: string;
  pattern_name: string | null;
  pattern_metadata: Json;
  source: string | null;
  entry_at?: string | null;
  exit_at?: string | null;
  stop_at_entry?: number | null;
  mae?: number | null;
  mfe?: number | null;
  mae_price?: number | null;
  mfe_price?: number | null;
  r?: number | null;
  [column: string]: unknown;
}

/** {"columns": [...], NAME: [...], ...}: one array a column. */
export type Table = { columns: string[] } & Record<string, unknown>;

export interface Bar {
  /** Epoch seconds, of its open. */
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume?: number;
}

export interface Candles {
  timeframe: string;
  source: string | null;
  bars: Bar[];
}

export interface Strategy {
  id: number;
  name: string;
  description: string | null;
  execution_mode: string;
  strategy_key: string | null;
  strategy_params: { [name: string]: Json };
  primary_tf: string;
  context_tfs: string[];
  symbols: string[];
  is_active: boolean;
  [column: string]: Json;
}

export interface StrategyKey {
  key: string;
  /** JSON Schema of its parameters; of `rules`, of the document. */
  params?: Schema;
  schema?: Schema;
  docstring?: string | null;
  version?: string | null;
  [more: string]: unknown;
}

/** The part of JSON Schema that parameters use. */
export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: Json;
  enum?: Json[];
  const?: Json;
  anyOf?: Schema[];
  allOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  required?: string[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  $ref?: string;
  $defs?: Record<string, Schema>;
  [more: string]: unknown;
}

export interface MarketData {
  symbol: string;
  timeframe: string;
  first?: string;
  last?: string;
  bars?: number;
  /** In which the file told its times; null: nobody said. */
  zone?: string | null;
  gaps?: number | null;
  missing_bars?: number | null;
  passport?: { [name: string]: Json } | null;
  notes?: string[];
  fault?: string;
}

export interface Optimization {
  optimization_id: number;
  strategy_id: number;
  strategy_name?: string | null;
  symbol: string;
  timeframe: string;
  start_date: string;
  end_date: string;
  status: Status;
  progress_pct: number;
  method: string;
  param_grid: Record<string, Json>;
  optimize_metric: string;
  total_combinations: number;
  completed_combinations: number;
  failed_combinations: number;
  best_params: Record<string, Json> | null;
  best_value: number | null;
  best_run_id: number | null;
  robust_params: Record<string, Json> | null;
  statistics: Record<string, Json> | null;
  walk_forward: Record<string, Json> | null;
  error_message: string | null;
  created_at: string;
  [column: string]: unknown;
}
