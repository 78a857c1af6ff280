// The figures of a run: all, long, short; what each means; why one is not there; what ambiguous bars leave open.
import { FIGURES, FIGURE_GROUPS, figureText, words } from "../core/figures";
import type { Metrics, RunDetail } from "../core/types";
import { Figure } from "../parts/shown";

type Side = Record<string, number | null>;

const NO_FIGURES = new Set(["null_reasons", "warnings", "result_digest", "data_passport", "strategy_version"]);
const KEY = ["net_profit", "total_return_pct", "max_drawdown_pct", "sharpe_ratio", "profit_factor", "total_trades", "win_rate"];

/** Of the account; "" where it is not known: then no currency is claimed. */
export function currencyOf(run: RunDetail): string {
  const named = run["account_currency"] ?? run.request?.["account_currency"] ?? (run["specification"] as Record<string, unknown> | undefined)?.["account_currency"];
  return typeof named === "string" ? named : "";
}

export function Figures({ run }: { run: RunDetail }) {
  const metrics = metricsOf(run);
  const currency = currencyOf(run);
  const reasons = metrics.null_reasons ?? {};
  const sides = [run.long, run.short].filter((side): side is Side => Boolean(side));
  const hasSides = sides.length === 2;
  const known = new Set(Object.keys(FIGURES));
  const further = Object.keys(metrics).filter((name) => !known.has(name) && !NO_FIGURES.has(name) && isFigure(metrics[name]));
  const groups: (readonly [string, readonly string[]])[] = [
    ...FIGURE_GROUPS.map(([title, figures]) => [title, Object.keys(figures).filter((name) => name in metrics)] as const),
    ["Further", further],
  ];
  const value = (name: string) => metrics[name] as number | null;
  return (
    <section aria-label="Figures">
      <Interval metrics={metrics} currency={currency} />
      <dl class="key-figures">
        {KEY.filter((name) => name in metrics).map((name) => (
          <div key={name}>
            <dt>{FIGURES[name]?.label}</dt>
            <dd>
              <Figure name={name} value={value(name)} currency={currency} reason={reasons[name]} />
            </dd>
          </div>
        ))}
      </dl>
      <details class="all-figures">
        <summary>All figures, with what they mean{hasSides ? ", and long and short apart" : ""}</summary>
        <div class="figure-groups">
          {groups
            .filter(([, names]) => names.length)
            .map(([title, names]) => (
              <table key={title}>
                <caption>{title}</caption>
                <thead>
                  <tr>
                    <th scope="col">Figure</th>
                    <th scope="col" class="number">
                      All
                    </th>
                    {hasSides && title === "Trades" && (
                      <>
                        <th scope="col" class="number">
                          Long
                        </th>
                        <th scope="col" class="number">
                          Short
                        </th>
                      </>
                    )}
                  </tr>
                </thead>
                <tbody>
                  {names.map((name) => (
                    <tr key={name}>
                      <th scope="row">
                        {FIGURES[name]?.label ?? words(name)}
                        {FIGURES[name] && <span class="meaning">{FIGURES[name].meaning}</span>}
                      </th>
                      <td class="number">
                        {KEY.includes(name) ? (
                          <span>{figureText(value(name), FIGURES[name]?.unit, currency)}</span>
                        ) : (
                          <Figure name={name} value={value(name)} currency={currency} reason={reasons[name]} />
                        )}
                      </td>
                      {hasSides && title === "Trades" && <SideCells name={name} run={run} currency={currency} />}
                    </tr>
                  ))}
                </tbody>
              </table>
            ))}
          {hasSides && <FurtherSides run={run} currency={currency} shown={groups.find(([title]) => title === "Trades")?.[1] ?? []} />}
        </div>
      </details>
    </section>
  );
}

function SideCells({ name, run, currency }: { name: string; run: RunDetail; currency: string }) {
  return (
    <>
      {(["long", "short"] as const).map((side) => (
        <td key={side} class="number">
          {run[side] && name in run[side] && <Figure name={name} metric={`${side}.${name}`} value={run[side][name]} currency={currency} />}
        </td>
      ))}
    </>
  );
}

/** Figures of the sides that stand in another group for all trades. */
function FurtherSides({ run, currency, shown }: { run: RunDetail; currency: string; shown: readonly string[] }) {
  const names = Object.keys(run.long ?? {}).filter((name) => !shown.includes(name) && isFigure(run.long?.[name] ?? null));
  if (!names.length) return null;
  return (
    <table>
      <caption>Long and short</caption>
      <thead>
        <tr>
          <th scope="col">Figure</th>
          <th scope="col" class="number">
            Long
          </th>
          <th scope="col" class="number">
            Short
          </th>
        </tr>
      </thead>
      <tbody>
        {names.map((name) => (
          <tr key={name}>
            <th scope="row">{FIGURES[name]?.label ?? words(name)}</th>
            <SideCells name={name} run={run} currency={currency} />
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Above all figures: what bars that reach stop and target leave open. */
function Interval({ metrics, currency }: { metrics: Metrics; currency: string }) {
  const bars = metrics["ambiguous_bars"];
  if (typeof bars !== "number" || bars === 0) return null;
  const [first, last] = ["net_profit_stop_first", "net_profit_target_first"].map((name) => figureText(metrics[name] as number | null, "money", currency));
  return (
    <p class="interval">
      Net profit lies between {first} (stops first) and {last} (targets first): {bars} ambiguous {bars === 1 ? "bar reaches" : "bars reach"} both stop and target, and nothing says which came first.
    </p>
  );
}

export function metricsOf(run: RunDetail): Metrics {
  return run.metrics ?? (Object.fromEntries(Object.keys(FIGURES).filter((name) => name in run).map((name) => [name, run[name]])) as Metrics);
}

function isFigure(value: unknown): boolean {
  return typeof value === "number" || value === null;
}
