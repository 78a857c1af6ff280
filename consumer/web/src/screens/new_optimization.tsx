// Ask for a search: which parameters vary, how, and what is best.
import { useRef, useState } from "preact/hooks";
import { api } from "../core/http_source";
import { FIGURES } from "../core/figures";
import { errorText } from "../core/load";
import { go } from "../core/router";
import { type Parameter, numberOf, parametersOf, typed } from "../core/schema";
import type { Json } from "../core/types";
import { CheckField, type Choice, SelectField, TextField, focusFirstFault } from "../parts/fields";
import { Shown } from "../parts/shown";
import { DataPreview } from "./data_preview";
import { first, newKey, ownParameters } from "./new_backtest";
import { documentParameters } from "./rules_document";
import { EMPTY, IN_ADDRESS, NONE, type Refusals, type Specification, SpecificationFields, type Stored, refusalsOf, prefixed, requestOf, unprefixed, useFormInAddress, usePreview, useRemembered, useStored, useStrategyKey, wordsOf } from "./specification";

const METHODS: Readonly<Record<string, string>> = { grid: "every combination", random: "so many drawn", tpe: "drawn, learning on the way" };
const METRICS: readonly Choice[] = ["sharpe_ratio", "sortino_ratio", "calmar_ratio", "net_profit", "total_return_pct", "profit_factor", "expectancy", "recovery_factor", "max_drawdown_pct"].map((name): Choice => [name, FIGURES[name]?.label ?? name]);

interface Typed extends Specification {
  /** By parameter: 5, 10, 20 or 10 to 50 step 5 or, drawn, 1.0 to 4.0. */
  space: Record<string, string>;
  method: string;
  samples: string;
  seed: string;
  metric: string;
  min_trades: string;
  walks: boolean;
  train_days: string;
  test_days: string;
  anchored: boolean;
}

const START: Typed = { ...EMPTY, space: {}, method: "grid", samples: "200", seed: "0", metric: "sharpe_ratio", min_trades: "30", walks: false, train_days: "365", test_days: "90", anchored: false };

const SEARCH_IN_ADDRESS = [...IN_ADDRESS, "method", "samples", "seed", "metric", "min_trades", "walks", "train_days", "test_days", "anchored"] as const;

export function NewOptimizationScreen() {
  const stored = useStored(0);
  return (
    <>
      <h1 tabIndex={-1}>New optimisation</h1>
      <Shown load={stored} what="strategies and data">
        {(value) => <Form stored={value} />}
      </Shown>
    </>
  );
}

function Form({ stored }: { stored: Stored }) {
  const [typedIn, setTyped] = useRemembered<Typed>("backtest-new-optimization", { ...START, ...first(stored) });
  const [refusals, setRefusals] = useState<Refusals>(NONE);
  const [isSending, setSending] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const strategy = stored.strategies.find(({ id }) => String(id) === typedIn.strategy) ?? null;
  const key = useStrategyKey(strategy?.strategy_key);
  const parameters = strategy?.strategy_key === "rules" ? documentParameters(strategy.strategy_params) : parametersOf(key.value);
  const preview = usePreview(typedIn.symbol, typedIn.timeframe, 0);
  const own = ownParameters(strategy);
  useFormInAddress("/optimizations/new", { ...wordsOf(typedIn, START, SEARCH_IN_ADDRESS), ...prefixed(typedIn.space) }, (given) => {
    const told = Object.fromEntries(SEARCH_IN_ADDRESS.filter((name) => name in given).map((name) => [name, typeof START[name] === "boolean" ? given[name] === "true" : given[name]]));
    setTyped({ ...told, space: unprefixed(given) });
  });
  const text = (name: keyof Typed, label: string, field: string, hint?: string) => <TextField label={label} value={String(typedIn[name])} hint={hint} error={refusals.at(field)} onValue={(value) => setTyped({ [name]: value })} />;
  const send = async (event: Event) => {
    event.preventDefault();
    setSending(true);
    setRefusals(NONE);
    try {
      const { body } = await api.post<{ optimization_id: number }>("/optimization", searchOf(typedIn, parameters), { "Idempotency-Key": newKey() });
      go(`/optimizations/${body.optimization_id}`);
    } catch (error) {
      setRefusals(refusalsOf(error as Error, (field) => ["method", "samples", "seed", "optimize_metric", "min_trades"].includes(field) || field.startsWith("walk_forward") || parameters.some(({ name }) => field === `param_grid.${name}`)));
      focusFirstFault(form.current);
    } finally {
      setSending(false);
    }
  };
  return (
    <form aria-label="New optimisation" class="specification" ref={form} noValidate onSubmit={(event) => void send(event)}>
      <div class="columns">
        <div>
          <SpecificationFields stored={stored} typedIn={typedIn} onTyped={setTyped} refusals={refusals} preview={preview.value} />
        </div>
        <div>
          <DataPreview data={preview.value} what={preview.error ? errorText(preview.error) : "Choose a symbol and a timeframe that are stored."} />
          <fieldset>
            <legend>What varies</legend>
            <p class="hint">A list: 5, 10, 20. A range with both ends: 10 to 50 step 5. To be drawn from, for random and tpe: 1.0 to 4.0. Empty: as the strategy has it.</p>
            <div class="fields">
              {parameters.map(({ name, standard }) => (
                <TextField key={name} label={name} value={typedIn.space[name] ?? ""} placeholder={`fixed: ${typed(name in own ? own[name] : standard) || "not set"}`} error={refusals.at(`param_grid.${name}`)} onValue={(value) => setTyped({ space: { ...typedIn.space, [name]: value } })} />
              ))}
            </div>
            {refusals.at("param_grid") && !parameters.some(({ name }) => refusals.at(`param_grid.${name}`)) && <p class="error">{refusals.at("param_grid")}</p>}
          </fieldset>
          <fieldset>
            <legend>How it searches</legend>
            <div class="fields">
              <SelectField label="Method" value={typedIn.method} hint={METHODS[typedIn.method]} choices={Object.keys(METHODS).map((name): Choice => [name, name])} error={refusals.at("method")} onValue={(method) => setTyped({ method })} />
              {typedIn.method !== "grid" && text("samples", "Samples", "samples")}
              {typedIn.method !== "grid" && text("seed", "Seed", "seed", "the same seed gives the same combinations")}
              <SelectField label="Best is the best" value={typedIn.metric} choices={METRICS} error={refusals.at("optimize_metric")} onValue={(metric) => setTyped({ metric })} />
              {text("min_trades", "Trades at least", "min_trades", "combinations with fewer rank last")}
            </div>
            <CheckField label="Walk-forward" hint="train on a stretch, test on the one behind it, and go on" checked={typedIn.walks} onChecked={(walks) => setTyped({ walks })} />
            {typedIn.walks && (
              <div class="fields">
                {text("train_days", "Days of training", "walk_forward.train_days")}
                {text("test_days", "Days of test", "walk_forward.test_days")}
                <CheckField label="Training always begins at the start" checked={typedIn.anchored} onChecked={(anchored) => setTyped({ anchored })} />
              </div>
            )}
          </fieldset>
        </div>
      </div>
      {refusals.others.length > 0 && (
        <div class="trouble" role="alert" tabIndex={-1}>
          {refusals.others.map((line) => (
            <p key={line}>{line}</p>
          ))}
        </div>
      )}
      <div class="submit">
        <button type="submit" class="primary" disabled={isSending}>
          Run optimisation
        </button>
      </div>
    </form>
  );
}

function searchOf(typedIn: Typed, parameters: readonly Parameter[]): Record<string, Json> {
  const names = new Set(parameters.map(({ name }) => name));
  const space = Object.entries(typedIn.space).filter(([name, text]) => names.has(name) && text.trim()).map(([name, text]) => [name, spaceOf(text)]);
  const isDrawn = typedIn.method !== "grid";
  return {
    ...requestOf(typedIn),
    param_grid: Object.fromEntries(space),
    method: typedIn.method,
    ...(isDrawn ? { samples: numberOf(typedIn.samples), seed: numberOf(typedIn.seed) } : {}),
    optimize_metric: typedIn.metric,
    min_trades: numberOf(typedIn.min_trades),
    ...(typedIn.walks ? { walk_forward: { train_days: numberOf(typedIn.train_days), test_days: numberOf(typedIn.test_days), anchored: typedIn.anchored } } : {}),
  };
}

/** "5, 10, 20", "10 to 50 step 5", "1.0 to 4.0 log", or JSON as the contract of searches has it. */
export function spaceOf(text: string): Json {
  const trimmed = text.trim();
  if (/^[[{]/.test(trimmed)) {
    try {
      return JSON.parse(trimmed) as Json;
    } catch {
      return trimmed;
    }
  }
  const range = /^(\S+)\s+to\s+(\S+)(?:\s+step\s+(\S+))?(\s+log)?(\s+int)?$/i.exec(trimmed);
  if (!range) return trimmed.split(",").map((each) => numberOf(each)).filter((each) => each !== "");
  const [, from = "", to = "", step, log, int] = range;
  if (step !== undefined) return { from: numberOf(from), to: numberOf(to), step: numberOf(step) };
  const isWhole = int !== undefined || [from, to].every((each) => /^[+-]?\d+$/.test(each));
  return { low: numberOf(from), high: numberOf(to), ...(log ? { log: true } : {}), ...(isWhole ? { int: true } : {}) };
}
