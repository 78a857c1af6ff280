// The trades of a run, as the table shows them and the chart goes through them: one filter, one order.
import type { Source } from "../core/source";
import type { Page, Trade } from "../core/types";
import { sorted } from "../parts/tables";

const PART = 500;

/** Every row, in the API's order. */
export async function loadTrades(source: Source, runId: number): Promise<Trade[]> {
  const found: Trade[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<Trade> = await source.get<Page<Trade>>(`/backtest/${runId}/trades`, { limit: source.embedded ? null : PART, cursor });
    for (const row of page.items) found.push(row);
    cursor = page.next_cursor;
  } while (cursor);
  return found;
}

/** Which trades, in which order; from the words of the address. */
export interface TradeView {
  direction: string;
  exit_reason: string;
  pattern_name: string;
  outcome: string;
  sort: string;
}

export function viewOf(query: URLSearchParams): TradeView {
  const word = (name: string) => query.get(name) ?? "";
  return { direction: word("direction"), exit_reason: word("exit_reason"), pattern_name: word("pattern_name"), outcome: word("outcome"), sort: word("sort") || "entry_time" };
}

export function shownTrades(trades: readonly Trade[], view: TradeView): Trade[] {
  const wanted = trades.filter(
    (row) =>
      (!view.direction || row.direction === view.direction) &&
      (!view.exit_reason || row.exit_reason === view.exit_reason) &&
      (!view.pattern_name || (row.pattern_name ?? "") === view.pattern_name) &&
      (!view.outcome || outcomeOf(row) === view.outcome),
  );
  return sorted(wanted, view.sort, (row, name) => row[name]);
}

export function outcomeOf({ profit }: Trade): string {
  return profit > 0 ? "win" : profit < 0 ? "loss" : "break_even";
}

/** Positions in the order of the table; one with several exits stands where its first row does. */
export function positionOrder(trades: readonly Trade[], view: TradeView): number[] {
  return [...new Set(shownTrades(trades, view).map((row) => row.position_id))];
}

