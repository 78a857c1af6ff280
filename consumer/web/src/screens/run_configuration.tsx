// What exactly was run, on which data.
import { words } from "../core/figures";
import type { Json, RunDetail } from "../core/types";
import { zoneLabel } from "../core/zones";
import { Time, isTime } from "../parts/shown";

const SHOWN_ABOVE = new Set(["metrics", "all", "long", "short", "drawdowns", "request", "warnings", "error_message", "progress_pct", "intervals", "passport", "null_reasons", "missing"]);

export function ConfigurationTab({ run }: { run: RunDetail }) {
  const metrics = run.metrics ?? {};
  const row = Object.entries(run).filter(([name, value]) => !SHOWN_ABOVE.has(name) && !(name in metrics) && (typeof value !== "object" || Array.isArray(value)));
  const identity = { result_digest: metrics.result_digest ?? run["result_digest"], strategy_version: metrics["strategy_version"] } as Record<string, Json>;
  return (
    <>
    <p class="hint">Times in {zoneLabel.value}</p>
    <div class="facts-grid">
      <Facts title="Run" facts={Object.fromEntries(row) as Record<string, Json>} />
      <Facts title="Request" facts={(run.request as Record<string, Json> | null | undefined) ?? null} empty="No request is kept for this run." />
      <Facts title="Data passport" facts={((metrics.data_passport ?? run["passport"]) as Record<string, Json> | undefined) ?? null} empty="There is none before the run has completed." />
      {identity["result_digest"] && <Facts title="Identity of the result" facts={identity} />}
    </div>
    </>
  );
}

function Facts({ title, facts, empty }: { title: string; facts: Record<string, Json> | null; empty?: string }) {
  return (
    <section aria-label={title} class="card">
      <h2>{title}</h2>
      {facts ? (
        <dl class="facts">
          {Object.entries(facts).map(([name, value]) => (
            <div key={name}>
              <dt>{words(name)}</dt>
              <dd>{textOf(value)}</dd>
            </div>
          ))}
        </dl>
      ) : (
        <p class="none">{empty}</p>
      )}
    </section>
  );
}

function textOf(value: Json | undefined) {
  if (value === null || value === undefined || value === "") return <span class="none">–</span>;
  if (Array.isArray(value) && value.every((each) => typeof each !== "object")) return value.length ? value.join(", ") : <span class="none">none</span>;
  if (typeof value === "object") return <pre tabIndex={0}>{JSON.stringify(value, null, 2)}</pre>;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (isTime(value)) return <Time at={value} />;
  return String(value);
}
