// Calls to language models: what was asked, what was answered, what came of it.
import { figureText, plain } from "../core/figures";
import { useLoad } from "../core/load";
import { place, setQuery } from "../core/router";
import type { Page, RunDetail } from "../core/types";
import { Link, Shown, Time } from "../parts/shown";
import { useSource } from "../parts/source_of_page";
import { type Column, DataTable } from "../parts/tables";
import { currencyOf } from "./run_figures";

const PART = 50;

interface Call {
  number: number;
  bar_time: string;
  role: string;
  model: string;
  state: "asked" | "answered" | "failed";
  answer: string | null;
  error: string | null;
  input_tokens: number | null;
  output_tokens: number | null;
  cost: number | null;
  latency_ms: number | null;
  messages: { author: string; content: string }[] | null;
  decided: { action: string; stop_loss: number | null; take_profits: number[]; confidence: number | null; reason: string } | null;
  problem: string;
  /** Opened on the decision. */
  positions: number[];
}

/** Whether a language model has a say in the run. */
export function asksModel(run: RunDetail): boolean {
  return typeof run["decided_by"] === "string" && run["decided_by"] !== "rule_only";
}

/** Beside the figures: what the same rule earned without the model, where it was run. */
export function RuleAlone({ run }: { run: RunDetail }) {
  const alone = run.rule_alone;
  if (!alone) return null;
  const earned = (
    <>
      net profit <data data-metric="rule_alone.net_profit" value={String(alone.net_profit)}>{figureText(alone.net_profit, "money", currencyOf(run))}</data>, {alone.total_trades ?? 0} trades
    </>
  );
  return (
    <p class="interval">
      The rule alone, without the model: {earned}
      {alone.run_id !== null && (
        <>
          {" "}(<Link to={`/runs/${alone.run_id}/chart`}>run {alone.run_id}</Link>)
        </>
      )}
    </p>
  );
}

export function CallsTab({ run }: { run: RunDetail }) {
  const source = useSource();
  const cursor = place.value.query.get("calls") ?? "";
  const load = useLoad(`calls ${run.run_id} ${cursor}`, () => source.get<Page<Call>>(`/backtest/${run.run_id}/llm-calls`, { limit: PART, cursor }), `${run.status} ${run.progress_pct}`);
  return (
    <Shown load={load} what="the calls">
      {({ items, next_cursor }) => (
        <>
          <p class="hint">Calls that this run made, in their order; answers that it had from calls of other runs stand with those. What a model says is shown as it is.</p>
          <DataTable label="Calls" columns={columns(run)} rows={items} keyOf={({ number }) => number} empty="No call was made." />
          <p class="pager">
            {cursor && (
              <button type="button" onClick={() => setQuery({ calls: null }, false)}>
                First calls
              </button>
            )}
            {next_cursor && (
              <button type="button" onClick={() => setQuery({ calls: next_cursor }, false)}>
                Later calls
              </button>
            )}
          </p>
        </>
      )}
    </Shown>
  );
}

function columns(run: RunDetail): Column<Call>[] {
  const count = (value: number | null) => (value === null ? "–" : plain(value, 0));
  return [
    { name: "number", title: "Call", isNumber: true, cell: ({ number }) => number },
    { name: "bar_time", title: "Bar", cell: ({ bar_time }) => <Time at={bar_time} /> },
    ...(run["decided_by"] === "multi_agent" ? [{ name: "role", title: "Role", cell: ({ role }: Call) => role }] : []),
    { name: "state", title: "State", cell: ({ state, error }) => (error ? `${state}: ${error}` : state === "asked" ? "asked; no answer is known" : state) },
    { name: "decided", title: "Said", cell: said },
    { name: "positions", title: "Came of it", cell: (call) => cameOf(run, call) },
    { name: "tokens", title: "Tokens asked, answered", isNumber: true, cell: (call) => `${count(call.input_tokens)}, ${count(call.output_tokens)}` },
    { name: "cost", title: "Cost", isNumber: true, cell: ({ cost }) => figureText(cost, "cost", currencyOf(run)) },
    { name: "latency_ms", title: "Seconds", isNumber: true, cell: ({ latency_ms }) => (latency_ms === null ? "–" : plain(latency_ms / 1000, 2)) },
    { name: "messages", title: "Asked and answered", cell: wholly },
  ];
}

function said({ decided, problem }: Call) {
  if (problem) return `cannot be taken: ${problem}`;
  if (!decided) return <span class="none">–</span>;
  const levels = [decided.stop_loss !== null && `stop ${decided.stop_loss}`, decided.take_profits.length > 0 && `targets ${decided.take_profits.join(", ")}`, decided.confidence !== null && `confidence ${decided.confidence}`].filter(Boolean);
  return (
    <>
      <strong>{decided.action}</strong>
      {levels.length > 0 && `, ${levels.join(", ")}`}
      {decided.reason && <span class="meaning">{decided.reason}</span>}
    </>
  );
}

function cameOf(run: RunDetail, { positions, state }: Call) {
  if (!positions.length) return <span class="none">{state === "answered" ? "nothing was opened" : "–"}</span>;
  return positions.map((each) => (
    <Link key={each} to={`/runs/${run.run_id}/chart?trade=${each}`} label={`Trade ${each} on the chart`}>
      Trade {each}{" "}
    </Link>
  ));
}

function wholly({ number, messages, answer }: Call) {
  return (
    <details>
      <summary>Call {number}</summary>
      {messages === null && <p class="none">What was asked is not kept any more.</p>}
      {(messages ?? []).map(({ author, content }, index) => (
        <section key={index} aria-label={`Message ${index + 1} of call ${number}`}>
          <h3>{author}</h3>
          <pre tabIndex={0}>{content}</pre>
        </section>
      ))}
      {answer !== null && (
        <section aria-label={`Answer to call ${number}`}>
          <h3>answer</h3>
          <pre tabIndex={0}>{answer}</pre>
        </section>
      )}
    </details>
  );
}
