// Strategies: the rows that requests name.
import { useState } from "preact/hooks";
import { api } from "../core/http_source";
import { useLoad } from "../core/load";
import { ApiError } from "../core/source";
import type { Strategy } from "../core/types";
import { Link, Shown, Time, Trouble } from "../parts/shown";
import { DataTable } from "../parts/tables";
import { everything } from "./specification";

export function StrategiesScreen() {
  const load = useLoad("strategies", () => everything<Strategy>("/strategies"));
  const [asking, setAsking] = useState<{ strategy: Strategy; count: number } | null>(null);
  const [trouble, setTrouble] = useState<Error | null>(null);
  const remove = async (strategy: Strategy, confirm: number | null) => {
    try {
      await api.remove(`/strategies/${strategy.id}`, { confirm });
      setAsking(null);
      setTrouble(null);
      load.again();
    } catch (error) {
      const count = error instanceof ApiError && error.problem.code === "confirm" ? countOf(error) : null;
      if (count === null) setTrouble(error as Error);
      else setAsking({ strategy, count });
    }
  };
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Strategies</h1>
        <Link to="/strategies/new" class="button">
          New strategy
        </Link>
      </div>
      {trouble && <Trouble error={trouble} what="that" />}
      {asking && (
        <div class="trouble" role="alert">
          <p>
            {asking.count} {asking.count === 1 ? "run or search" : "runs and searches"} of {asking.strategy.name} would be deleted with it.
          </p>
          <button type="button" class="danger" onClick={() => void remove(asking.strategy, asking.count)}>
            Delete all of it
          </button>
          <button type="button" onClick={() => setAsking(null)}>
            Keep it
          </button>
        </div>
      )}
      <Shown load={load} what="the strategies">
        {(rows) => (
          <DataTable
            label="Strategies"
            rows={rows}
            keyOf={({ id }) => id}
            empty="No strategy yet."
            columns={[
              { name: "name", title: "Name", cell: (row) => <Link to={`/strategies/${row.id}`}>{row.name}</Link> },
              { name: "strategy_key", title: "Key", cell: (row) => row.strategy_key ?? "" },
              { name: "execution_mode", title: "Who decides", cell: (row) => row.execution_mode },
              { name: "primary_tf", title: "Timeframe", cell: (row) => row.primary_tf },
              { name: "symbols", title: "Symbols", cell: (row) => (row.symbols?.length ? row.symbols.join(", ") : "any") },
              { name: "size", title: "Size", cell: sizeOf },
              { name: "is_active", title: "Active", cell: (row) => (row.is_active ? "yes" : "no") },
              { name: "created_at", title: "Made", cell: (row) => <Time at={row["created_at"] as string} /> },
              {
                name: "delete",
                title: "Actions",
                isTitleUnseen: true,
                cell: (row) => (
                  <button type="button" title={`Delete ${row.name}`} onClick={() => void remove(row, null)}>
                    Delete
                  </button>
                ),
              },
            ]}
          />
        )}
      </Shown>
    </>
  );
}

function sizeOf(row: Strategy): string {
  if (typeof row["risk_pct"] === "number") return `${(row["risk_pct"] * 100).toFixed(2)} % of equity at risk`;
  return `${typeof row["lot_size"] === "number" ? row["lot_size"] : 0.1} lots`;
}

/** How many it says would go; the number must be given back. */
function countOf({ problem }: ApiError): number | null {
  for (const name of ["confirm", "count", "runs"]) if (typeof problem[name] === "number") return problem[name];
  const told = /confirm=(\d+)|(\d+)/.exec(problem.detail ?? "");
  return told ? Number(told[1] ?? told[2]) : null;
}
