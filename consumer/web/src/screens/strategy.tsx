// Make a strategy's row, or change it; rules as data in an editor.
import { useRef, useState } from "preact/hooks";
import { api } from "../core/http_source";
import { errorText, useLoad } from "../core/load";
import { go } from "../core/router";
import { numberOf, parametersOf, typed, valueOf } from "../core/schema";
import { ApiError, detailsOf } from "../core/source";
import { TIMEFRAMES } from "../core/timeframes";
import type { FieldError, Json, Strategy, StrategyKey } from "../core/types";
import { AreaField, CheckField, type Choice, SelectField, TextField, focusFirstFault } from "../parts/fields";
import { ParameterFields } from "../parts/parameters";
import { Shown } from "../parts/shown";
import { RulesEditor } from "./rules_editor";
import { TEMPLATE, jsonError } from "./rules_document";
import { everything, useStrategyKey } from "./specification";

const DECIDERS: Readonly<Record<string, string>> = {
  rule_only: "the code alone",
  llm_only: "a language model alone",
  rule_then_llm: "a model may veto",
  hybrid_validator: "a model judges and changes",
  multi_agent: "several roles vote",
};
const OPPOSITE: readonly Choice[] = ["reverse", "close", "ignore"].map((name): Choice => [name, name]);

/** As typed. */
interface Typed {
  name: string;
  description: string;
  execution_mode: string;
  strategy_key: string;
  primary_tf: string;
  context_tfs: string;
  symbols: string;
  lot_size: string;
  risk_pct: string;
  sl_pips: string;
  tp_pips: string;
  on_opposite: string;
  stop_to_entry: boolean;
  custom_prompt: string;
  skip_hours: string;
  skip_weekdays: string;
  skip_hours_timezone: string;
  is_active: boolean;
}

interface Loaded {
  row: Strategy | null;
  etag: string;
  keys: StrategyKey[];
}

export function StrategyScreen({ id }: { id: number | null }) {
  const load = useLoad(`strategy ${id ?? "new"}`, async (): Promise<Loaded> => {
    const [keys, answer] = await Promise.all([everything<StrategyKey>("/strategy-keys"), id === null ? null : api.get<Strategy>(`/strategies/${id}`)]);
    return { row: answer?.body ?? null, etag: answer?.headers.get("ETag") ?? "", keys };
  });
  return (
    <>
      <h1 tabIndex={-1}>{id === null ? "New strategy" : `Strategy ${id}`}</h1>
      <Shown load={load} what="the strategy">
        {(value) => <Form key={value.etag} loaded={value} id={id} onSaved={load.again} />}
      </Shown>
    </>
  );
}

function Form({ loaded: { row, etag, keys }, id, onSaved }: { loaded: Loaded; id: number | null; onSaved: () => void }) {
  const [typedIn, setTyped] = useState<Typed>(() => typedOf(row));
  const [parameters, setParameters] = useState<Record<string, string>>({});
  const [document, setDocument] = useState(() => (row?.strategy_key === "rules" ? JSON.stringify(row.strategy_params, null, 2) : TEMPLATE));
  const [errors, setErrors] = useState<readonly FieldError[]>([]);
  const [said, setSaid] = useState("");
  const form = useRef<HTMLFormElement>(null);
  const key = useStrategyKey(typedIn.strategy_key || null);
  const isRules = typedIn.strategy_key === "rules";
  const fields = isRules ? [] : parametersOf(key.value);
  const own = row && row.strategy_key === typedIn.strategy_key ? row.strategy_params : {};
  const at = (field: string) => errors.filter((each) => each.field === field || each.field.startsWith(`${field}.`)).map(({ message }) => message).join("; ") || undefined;
  const text = (name: keyof Typed, label: string, hint?: string) => <TextField label={label} value={String(typedIn[name])} error={at(name)} hint={hint} onValue={(value) => setTyped({ ...typedIn, [name]: value })} />;
  const select = (name: keyof Typed, label: string, choices: readonly Choice[], hint?: string) => <SelectField label={label} hint={hint} value={String(typedIn[name])} error={at(name)} choices={choices} onValue={(value) => setTyped({ ...typedIn, [name]: value })} />;
  const save = async (event: Event) => {
    event.preventDefault();
    setErrors([]);
    setSaid("");
    const broken = isRules ? jsonError(document) : null;
    if (broken) {
      setErrors([{ field: "strategy_params", code: "undecodable", message: broken.message }]);
      focusFirstFault(form.current);
      return;
    }
    const params: Record<string, Json> = isRules ? (JSON.parse(document) as Record<string, Json>) : { ...own, ...Object.fromEntries(fields.filter(({ name }) => parameters[name] !== undefined).map((each) => [each.name, parameters[each.name] === "" ? null : valueOf(parameters[each.name] as string, each)])) };
    const cleaned = isRules ? params : Object.fromEntries(Object.entries(params).filter(([, value]) => value !== null));
    const body = { ...rowOf(typedIn), strategy_params: cleaned };
    try {
      if (id === null) {
        const { body: made } = await api.post<{ id: number }>("/strategies", withoutNull(body));
        go(`/strategies/${made.id}`);
      } else {
        // A merge patch: names that went must be said to be null.
        const gone = Object.fromEntries(Object.keys(row?.strategy_params ?? {}).filter((name) => !(name in cleaned)).map((name) => [name, null]));
        await api.patch(`/strategies/${id}`, { ...body, strategy_params: { ...patchOf(row?.strategy_params ?? {}, cleaned), ...gone } }, { "If-Match": etag });
        onSaved();
      }
      setSaid("Saved.");
    } catch (error) {
      setErrors(detailsOf(error));
      setSaid(error instanceof ApiError && error.status === 412 ? "Somebody else changed this strategy meanwhile: load it anew, then change it." : error instanceof ApiError && error.problem.details?.length ? "" : errorText(error as Error));
      focusFirstFault(form.current);
    }
  };
  const known = new Set([...Object.keys(typedIn), "strategy_params"]);
  const others = errors.filter(({ field }) => !known.has(field.split(".")[0] as string));
  return (
    <form aria-label={id === null ? "New strategy" : `Strategy ${id}`} class="specification" ref={form} noValidate onSubmit={(event) => void save(event)}>
      <fieldset>
        <legend>What it is</legend>
        <div class="fields">
          {text("name", "Name")}
          {select("strategy_key", "Key", [["", "none"], ...keys.map(({ key: name }): Choice => [name, name])])}
          {select("execution_mode", "Who decides", Object.keys(DECIDERS).map((name): Choice => [name, name]), DECIDERS[typedIn.execution_mode])}
          {text("description", "Description")}
        </div>
        {key.value?.docstring && <p class="note docstring">{key.value.docstring}</p>}
      </fieldset>
      {isRules ? (
        <RulesEditor text={document} onText={setDocument} errors={errors.filter(({ field }) => field.startsWith("strategy_params"))} schema={key.value} />
      ) : (
        <ParameterFields parameters={fields} own={own} typedIn={parameters} onTyped={(name, value) => setParameters({ ...parameters, [name]: value })} errors={(name) => at(`strategy_params.${name}`)} />
      )}
      {!isRules && !fields.length && at("strategy_params") && <p class="error">{at("strategy_params")}</p>}
      <fieldset>
        <legend>Where, and how much</legend>
        <div class="fields">
          {select("primary_tf", "Timeframe", TIMEFRAMES.map((name): Choice => [name, name]))}
          {text("context_tfs", "Context timeframes", "H4, D1")}
          {text("symbols", "Symbols", "EURUSD, GBPUSD; empty: any")}
          {text("lot_size", "Lots", "empty, with no risk: 0.1")}
          {text("risk_pct", "Risk a trade", "a fraction: 0.01 is 1 % of equity; wins over lots")}
          {text("sl_pips", "Stop, pips", "for decisions without one")}
          {text("tp_pips", "Target, pips", "for decisions without one")}
          {select("on_opposite", "On an opposite signal", OPPOSITE)}
        </div>
        <CheckField label="After the first target the stop goes to the entry" checked={typedIn.stop_to_entry} onChecked={(stop_to_entry) => setTyped({ ...typedIn, stop_to_entry })} />
        <CheckField label="Active" checked={typedIn.is_active} onChecked={(is_active) => setTyped({ ...typedIn, is_active })} />
      </fieldset>
      <fieldset>
        <legend>Hours left out, and words for a model</legend>
        <div class="fields">
          {text("skip_hours", "Skip hours", "0 to 23, of the decision's close: 22, 23")}
          {text("skip_weekdays", "Skip weekdays", "0 is Monday")}
          {text("skip_hours_timezone", "Time zone of the hours", "America/New_York; empty: UTC")}
          <AreaField label="Prompt" value={typedIn.custom_prompt} error={at("custom_prompt")} onValue={(custom_prompt) => setTyped({ ...typedIn, custom_prompt })} />
        </div>
      </fieldset>
      {(others.length > 0 || said) && (
        <div class={said === "Saved." ? "note" : "trouble"} role={said === "Saved." ? undefined : "alert"} tabIndex={-1} aria-live="polite">
          {said && <p>{said}</p>}
          {others.map(({ field, message }) => (
            <p key={field + message}>
              {field}: {message}
            </p>
          ))}
        </div>
      )}
      <div class="submit">
        <button type="submit" class="primary">
          Save strategy
        </button>
      </div>
    </form>
  );
}

function typedOf(row: Strategy | null): Typed {
  const of = (name: string, standard: Json = "") => typed(row ? row[name] : standard);
  return {
    name: of("name"),
    description: of("description"),
    execution_mode: of("execution_mode", "rule_only"),
    strategy_key: of("strategy_key", "sma_cross"),
    primary_tf: of("primary_tf", "M15"),
    context_tfs: of("context_tfs"),
    symbols: of("symbols"),
    lot_size: of("lot_size"),
    risk_pct: of("risk_pct"),
    sl_pips: of("sl_pips"),
    tp_pips: of("tp_pips"),
    on_opposite: of("on_opposite", "reverse"),
    stop_to_entry: row ? row["stop_to_entry"] !== false : true,
    custom_prompt: of("custom_prompt"),
    skip_hours: of("skip_hours"),
    skip_weekdays: of("skip_weekdays"),
    skip_hours_timezone: of("skip_hours_timezone"),
    is_active: row ? row.is_active : true,
  };
}

function rowOf(typedIn: Typed): Record<string, Json> {
  const orNull = (text: string): Json => text.trim() || null;
  const number = (text: string): Json => (text.trim() ? numberOf(text) : null);
  const list = (text: string): Json[] => text.split(",").map((each) => each.trim()).filter(Boolean);
  const numbers = (text: string): Json => (text.trim() ? list(text).map((each) => numberOf(String(each))) : null);
  return {
    name: typedIn.name.trim(),
    description: orNull(typedIn.description),
    execution_mode: typedIn.execution_mode,
    strategy_key: orNull(typedIn.strategy_key),
    primary_tf: typedIn.primary_tf,
    context_tfs: list(typedIn.context_tfs),
    symbols: list(typedIn.symbols),
    lot_size: number(typedIn.lot_size),
    risk_pct: number(typedIn.risk_pct),
    sl_pips: number(typedIn.sl_pips),
    tp_pips: number(typedIn.tp_pips),
    on_opposite: typedIn.on_opposite,
    stop_to_entry: typedIn.stop_to_entry,
    custom_prompt: orNull(typedIn.custom_prompt),
    skip_hours: numbers(typedIn.skip_hours),
    skip_weekdays: numbers(typedIn.skip_weekdays),
    skip_hours_timezone: orNull(typedIn.skip_hours_timezone),
    is_active: typedIn.is_active,
  };
}

function withoutNull(values: Record<string, Json>): Record<string, Json> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
}

/** A merge patch that makes `before` into `after`: what stands in an object and went is null. */
export function patchOf(before: Record<string, Json>, after: Record<string, Json>): Record<string, Json> {
  const patch: Record<string, Json> = {};
  for (const [name, value] of Object.entries(after)) {
    const old = before[name];
    patch[name] = isObject(value) && isObject(old) ? { ...patchOf(old, value), ...Object.fromEntries(Object.keys(old).filter((each) => !(each in value)).map((each) => [each, null])) } : value;
  }
  return patch;
}

function isObject(value: Json | undefined): value is { [name: string]: Json } {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
