// Everything of a run as files.
import { apiAddress } from "../core/http_source";
import type { Loaded } from "../core/load";
import type { RunDetail, Trade } from "../core/types";
import { useSource } from "../parts/source_of_page";

const TABLES = [
  ["trades", "Trades", "a row an exit, with MAE, MFE and R"],
  ["equity", "Equity", "a row a bar: balance, equity, buy and hold"],
  ["drawdown", "Drawdown", "a row a bar"],
  ["monthly", "Months", "a row a month with trades"],
  ["ledger", "Ledger", "every booked item"],
  ["candles", "Candles", "the bars of the run"],
] as const;

export function DownloadsTab({ run, trades }: { run: RunDetail; trades: Loaded<readonly Trade[]> }) {
  const source = useSource();
  if (source.embedded) return <OfReport run={run} trades={trades.value ?? []} />;
  const at = (part: string, format?: string) => apiAddress(`/backtest/${run.run_id}/${part}`, { format });
  return (
    <>
      <ul class="downloads">
        <li>
          <a href={at("report")} download={`run-${run.run_id}.html`}>
            Report
          </a>
          <span class="hint">one HTML file that opens without a network; to send to others</span>
        </li>
        {TABLES.map(([part, title, what]) => (
          <li key={part}>
            {title}:{" "}
            <a href={at(part, "csv")} download aria-label={`${title} as CSV`}>
              CSV
            </a>
            <a href={at(part, "parquet")} download aria-label={`${title} as Parquet`}>
              Parquet
            </a>
            <span class="hint">{what}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

/** In a report there is no server: the trades it holds, as CSV. */
function OfReport({ run, trades }: { run: RunDetail; trades: readonly Trade[] }) {
  const first = trades[0];
  if (!first) return <p class="none">This report holds no trades.</p>;
  const columns = Object.keys(first);
  const lines = [columns, ...trades.map((row) => columns.map((name) => cell(row[name])))].map((each) => each.join(","));
  return (
    <p>
      <a href={`data:text/csv;charset=utf-8,${encodeURIComponent(lines.join("\n"))}`} download={`run-${run.run_id}-trades.csv`}>
        Trades as CSV
      </a>
    </p>
  );
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  // A table calculator must not take a text for a formula.
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
