// Months: a row a year, coloured by what was won or lost in each.
import { figureText, words } from "../core/figures";
import { useLoad } from "../core/load";
import { rowsOf } from "../core/tables";
import type { RunDetail, Table } from "../core/types";
import { heatClass } from "../parts/heat";
import { Shown } from "../parts/shown";
import { useSource } from "../parts/source_of_page";
import { currencyOf } from "./run_figures";

const NAMES = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

interface Month {
  year: number;
  month: number;
  net: number;
  trades: number;
  return_pct: number | null;
}

export function MonthsTab({ run }: { run: RunDetail }) {
  const source = useSource();
  const load = useLoad(`months ${run.run_id}`, async () => rowsOf(await source.get<Table>(`/backtest/${run.run_id}/monthly`)) as unknown as Month[]);
  const currency = currencyOf(run);
  return (
    <Shown load={load} what="the months">
      {(months) => {
        const years = [...new Set(months.map(({ year }) => year))].sort();
        const most = Math.max(...months.map(({ return_pct, net }) => Math.abs(return_pct ?? net)), 0);
        return (
          <>
            <p class="hint">
              Net profit{currency && ` in ${currency}`} of the trades that left in each month (UTC, whatever zone is chosen), and below it in per cent of the balance at the month's begin.
            </p>
            <div class="table-frame" tabIndex={0} role="group" aria-label="Months, scrolls sideways">
              <table aria-label="Months" class="heat">
                <thead>
                  <tr>
                    <th scope="col">Year</th>
                    {NAMES.map((name) => (
                      <th key={name} scope="col" class="number">
                        {name}
                      </th>
                    ))}
                    <th scope="col" class="number">
                      Year's net
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {years.map((year) => {
                    const own = months.filter((each) => each.year === year);
                    return (
                      <tr key={year}>
                        <th scope="row">{year}</th>
                        {NAMES.map((name, index) => {
                          const month = own.find((each) => each.month === index + 1);
                          return (
                            <td key={name} class={`number ${month ? heatClass(month.return_pct ?? month.net, most) : ""}`} title={month ? `${month.trades} ${words("trades")}` : "no trade left in this month"}>
                              {month ? <MonthCell month={month} /> : <span class="none">–</span>}
                            </td>
                          );
                        })}
                        <td class="number">{figureText(own.reduce((sum, { net }) => sum + net, 0), "money")}</td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </div>
            {months.length === 0 && <p class="none">No trades.</p>}
          </>
        );
      }}
    </Shown>
  );
}

function MonthCell({ month }: { month: Month }) {
  return (
    <>
      <data data-month={`${month.year}-${String(month.month).padStart(2, "0")}`} value={String(month.net)}>
        {figureText(month.net, "money")}
      </data>
      {month.return_pct !== null && <small>{figureText(month.return_pct, "percent")}</small>}
    </>
  );
}
