// How figures are told: label, unit, what it means. Names and units are those of the terminal (figure_groups.py).

export type Unit = "money" | "percent" | "fraction" | "ratio" | "pips" | "count" | "days" | "probability" | "cost";

export interface Figure {
  label: string;
  unit: Unit;
  /** In words a trader can act on, from the engine's rules. */
  meaning: string;
}

const figure = (label: string, unit: Unit, meaning: string): Figure => ({ label, unit, meaning });

export const FIGURE_GROUPS: readonly (readonly [string, Readonly<Record<string, Figure>>])[] = [
  ["Result", {
    net_profit: figure("Net profit", "money", "Sum of the profits of all trades, after commission and swap."),
    total_return_pct: figure("Return", "percent", "Net profit as a share of the initial balance."),
    cagr_pct: figure("Return a year (CAGR)", "percent", "The steady yearly growth that leads to the same final equity."),
    buy_and_hold_return_pct: figure("Buy and hold", "percent", "What the price itself did over the same range."),
    final_equity: figure("Final equity", "money", "Balance at the end, with everything closed."),
    best_month_pct: figure("Best month", "percent", "Largest return of a calendar month."),
    worst_month_pct: figure("Worst month", "percent", "Smallest return of a calendar month."),
  }],
  ["Doubt", {
    ambiguous_bars: figure("Ambiguous bars", "count", "Bars that reach both stop and target, with nothing that says which came first."),
    net_profit_stop_first: figure("Net profit, stops first", "money", "If every ambiguous bar reached its stop first. This is the net profit shown."),
    net_profit_target_first: figure("Net profit, targets first", "money", "If every ambiguous bar reached its targets first."),
    sharpe_ci_low: figure("Sharpe, 95 % from", "ratio", "Lower end of the interval in which the Sharpe ratio lies with 95 %."),
    sharpe_ci_high: figure("Sharpe, 95 % to", "ratio", "Upper end of that interval."),
    expectancy_t: figure("t of the expectancy", "ratio", "Expectancy over its standard error; below 2 it may well be luck."),
    expectancy_p: figure("p of the expectancy", "probability", "How often trades without an edge give an expectancy this far from 0."),
  }],
  ["Risk", {
    max_drawdown_pct: figure("Max drawdown", "percent", "Deepest fall of equity below its peak, as a share of that peak."),
    longest_drawdown_days: figure("Longest drawdown", "days", "Longest time below a peak."),
    sharpe_ratio: figure("Sharpe ratio", "ratio", "Mean of daily returns over their deviation, a year; risk-free rate 0."),
    sortino_ratio: figure("Sortino ratio", "ratio", "As Sharpe, but only losing days count as risk."),
    calmar_ratio: figure("Calmar ratio", "ratio", "Return a year over the max drawdown."),
    recovery_factor: figure("Recovery factor", "ratio", "Net profit over the largest drawdown in money."),
    exposure_pct: figure("Time in the market", "percent", "Share of the bars with an open position."),
  }],
  ["Trades", {
    total_trades: figure("Trades", "count", "Exits; a partial close counts as one."),
    win_rate: figure("Win rate", "fraction", "Share of trades with a profit above 0."),
    profit_factor: figure("Profit factor", "ratio", "Sum of the wins over the sum of the losses."),
    expectancy: figure("Expectancy a trade", "money", "Net profit over the number of trades."),
    avg_win: figure("Average win", "money", "Mean profit of the winning trades."),
    avg_loss: figure("Average loss", "money", "Mean profit of the losing trades; negative."),
    max_consec_wins: figure("Wins in a row", "count", "Longest streak of wins; break-even ends it."),
    max_consec_losses: figure("Losses in a row", "count", "Longest streak of losses; break-even ends it."),
  }],
  ["Costs", {
    total_spread_cost: figure("Spread, in the prices", "money", "What the spread cost; already inside the profits."),
    total_commission: figure("Commission", "money", "Both sides of all trades; already inside the profits."),
    total_swap: figure("Swap", "money", "Interest of nights; negative when paid; already inside the profits."),
    total_slippage_cost: figure("Slippage, in the prices", "money", "What slippage cost; already inside the profits."),
    avg_spread: figure("Average spread", "pips", "Mean over the bars simulated."),
    break_even_spread_pips: figure("Spread at which it earns 0", "pips", "With a wider spread than this the run loses money."),
  }],
  ["Language model", {
    llm_calls_used: figure("Calls", "count", "Calls to the model that this run sent, failed and lost ones among them."),
    llm_calls_cached: figure("Answers of earlier calls", "count", "Questions that other runs had asked already."),
    llm_cost: figure("Cost, beside the result", "cost", "What the calls cost; in no figure of the result."),
    llm_input_tokens: figure("Tokens asked", "count", "Of the questions."),
    llm_output_tokens: figure("Tokens answered", "count", "Of the answers."),
  }],
];

export const FIGURES: Readonly<Record<string, Figure>> = Object.assign({}, ...FIGURE_GROUPS.map(([, figures]) => figures));

const DECIMALS: Record<Unit, number> = { money: 2, percent: 2, fraction: 2, ratio: 3, pips: 2, count: 0, days: 1, probability: 4, cost: 4 };

/** A figure for people, with its unit. null: "–". No sign stands before what rounds to 0. */
export function figureText(value: number | null | undefined, unit: Unit | undefined, currency = ""): string {
  if (value === null || value === undefined) return "–";
  if (unit === undefined) return Number.isInteger(value) ? plain(value, 0) : plain(value, 4);
  const text = plain(unit === "fraction" ? value * 100 : value, DECIMALS[unit]);
  if (unit === "money" || unit === "cost") return currency ? `${text} ${currency}` : text;
  if (unit === "percent" || unit === "fraction") return `${text} %`;
  if (unit === "pips" || unit === "days") return `${text} ${unit}`;
  return text;
}

/** With separators of thousands: 1,234.50. The same for everybody, so that a picture of it can be compared. */
export function plain(value: number, decimals: number): string {
  const text = value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return /^-[0.,]*$/.test(text) ? text.slice(1) : text;
}

/** A price with the digits it has, at most those of `digits` where known. */
export function priceText(price: number | null | undefined, digits: number): string {
  return price === null || price === undefined ? "–" : price.toFixed(digits);
}

/** The most decimals that stand in some of the prices, at least 2: what the instrument is quoted in. */
export function digitsOf(prices: Iterable<number>): number {
  let digits = 2;
  let looked = 0;
  for (const price of prices) {
    digits = Math.max(digits, (String(price).split(".")[1] ?? "").length);
    if ((looked += 1) >= 300) break;
  }
  return Math.min(digits, 8);
}

/** net_profit -> "net profit" */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}
