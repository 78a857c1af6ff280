// Ask for a backtest.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../core/http_source";
import { errorText } from "../core/load";
import { go } from "../core/router";
import { parametersOf, valueOf } from "../core/schema";
import type { Json, Strategy } from "../core/types";
import { dataZone } from "../core/zones";
import { focusFirstFault } from "../parts/fields";
import { ParameterFields } from "../parts/parameters";
import { Link, Shown } from "../parts/shown";
import { DataFilesFields, useDataFiles } from "./data_files";
import { DataPreview } from "./data_preview";
import { EMPTY, IN_ADDRESS, NONE, type Refusals, type Specification, SpecificationFields, type Stored, refusalsOf, prefixed, requestOf, unprefixed, useFormInAddress, usePreview, useRemembered, useStored, useStrategyKey, wordsOf } from "./specification";
import { documentParameters } from "./rules_document";

interface Typed extends Specification {
  /** By strategy: what was typed over the row's values. */
  parameters: Record<string, Record<string, string>>;
}

export function NewBacktestScreen() {
  const [version, setVersion] = useState(0);
  const stored = useStored(version);
  return (
    <>
      <h1 tabIndex={-1}>New backtest</h1>
      <Shown load={stored} what="strategies and data">
        {(value) => <Form stored={value} version={version} onStored={() => setVersion((count) => count + 1)} />}
      </Shown>
    </>
  );
}

function Form({ stored, version, onStored }: { stored: Stored; version: number; onStored: () => void }) {
  const [typedIn, setTyped] = useRemembered<Typed>("backtest-new", { ...EMPTY, parameters: {}, ...first(stored) });
  const [refusals, setRefusals] = useState<Refusals>(NONE);
  const [isSending, setSending] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const files = useDataFiles((symbol, timeframe) => {
    setTyped({ symbol, timeframe });
    onStored();
  });
  const strategy = stored.strategies.find(({ id }) => String(id) === typedIn.strategy) ?? null;
  const key = useStrategyKey(strategy?.strategy_key);
  const isRules = strategy?.strategy_key === "rules";
  const parameters = strategy && isRules ? documentParameters(strategy.strategy_params) : parametersOf(key.value);
  const own = ownParameters(strategy);
  const overTyped = typedIn.parameters[typedIn.strategy] ?? {};
  useFormInAddress("/new", { ...wordsOf(typedIn, { ...EMPTY, parameters: {} }, IN_ADDRESS), ...prefixed(overTyped) }, (given) => {
    const specification = Object.fromEntries(IN_ADDRESS.filter((name) => name in given).map((name) => [name, given[name] ?? ""]));
    const parameters = unprefixed(given);
    setTyped({ ...specification, ...(given["strategy"] ? { parameters: { ...typedIn.parameters, [given["strategy"]]: parameters } } : {}) });
  });
  const preview = usePreview(typedIn.symbol, typedIn.timeframe, version);
  useEffect(() => {
    dataZone.value = preview.value?.zone ?? null;
  }, [preview.value]);
  const send = async (event: Event) => {
    event.preventDefault();
    setSending(true);
    setRefusals(NONE);
    try {
      if (!(await files.store())) throw new Error("the files were not stored: see what is said of each");
      const changed = parameters.filter(({ name }) => overTyped[name] !== undefined).map((each): [string, Json] => [each.name, valueOf(overTyped[each.name] as string, each)]).filter(([, value]) => value !== "");
      const params = Object.fromEntries(changed);
      const given = changed.length ? { strategy_params: isRules ? { params } : params } : {};
      const { body } = await api.post<{ run_id: number }>("/backtest", { ...requestOf(typedIn), ...given }, { "Idempotency-Key": newKey() });
      go(`/runs/${body.run_id}/chart`);
    } catch (error) {
      setRefusals(refusalsOf(error as Error, (field) => parameters.some(({ name }) => field === parameterField(name, isRules) || field === `strategy_params.${name}`)));
      focusFirstFault(form.current);
    } finally {
      setSending(false);
    }
  };
  return (
    <form aria-label="New backtest" class="specification" ref={form} noValidate onSubmit={(event) => void send(event)}>
      <div class="columns">
        <div>
          {stored.strategies.length === 0 && (
            <p class="note">
              There is no strategy yet: <Link to="/strategies/new">make one</Link> first.
            </p>
          )}
          <SpecificationFields stored={withTyped(stored, typedIn)} typedIn={typedIn} onTyped={setTyped} refusals={refusals} preview={preview.value} />
          <ParameterFields
            parameters={parameters}
            own={own}
            typedIn={overTyped}
            onTyped={(name, text) => setTyped({ parameters: { ...typedIn.parameters, [typedIn.strategy]: { ...overTyped, [name]: text } } })}
            errors={(name) => refusals.at(parameterField(name, isRules)) ?? refusals.at(`strategy_params.${name}`)}
          />
          {key.error && <p class="error">The parameters cannot be shown: {errorText(key.error)}</p>}
        </div>
        <div>
          <DataPreview data={preview.value} what={preview.error ? errorText(preview.error) : "Choose a symbol and a timeframe that are stored, or add files."} />
          <DataFilesFields files={files} error={undefined} />
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
          Run backtest
        </button>
      </div>
    </form>
  );
}

function parameterField(name: string, isRules: boolean): string {
  return isRules ? `strategy_params.params.${name}` : `strategy_params.${name}`;
}

export function ownParameters(strategy: Strategy | null): Record<string, Json> {
  if (!strategy) return {};
  const params = strategy.strategy_key === "rules" ? strategy.strategy_params["params"] : strategy.strategy_params;
  return params !== null && typeof params === "object" && !Array.isArray(params) ? params : {};
}

/** Where only one can be meant, it is chosen. */
export function first({ strategies, data }: Stored): Partial<Specification> {
  const [strategy, bars] = [strategies[0], data[0]];
  return { ...(strategies.length === 1 && strategy ? { strategy: String(strategy.id) } : {}), ...(data.length === 1 && bars ? { symbol: bars.symbol, timeframe: bars.timeframe } : {}) };
}

/** What was chosen stays a choice also where it is not stored, so that the server's words on it have a place. */
function withTyped(stored: Stored, { symbol, timeframe }: Specification): Stored {
  const isThere = !symbol || stored.data.some((each) => each.symbol === symbol && (!timeframe || each.timeframe === timeframe));
  return isThere ? stored : { ...stored, data: [...stored.data, { symbol, timeframe }] };
}

/** Random, so that a request that is sent twice by a shaky connection is one. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
