// Files of bars, one a timeframe, on their way into the store under a symbol the person names.
import { useState } from "preact/hooks";
import { timeframeOfFile } from "../core/bar_files";
import { api } from "../core/http_source";
import { ApiError } from "../core/source";
import { TIMEFRAMES } from "../core/timeframes";
import type { Json } from "../core/types";
import { SelectField, TextField } from "../parts/fields";
import { words } from "../core/figures";

interface Dropped {
  file: File;
  timeframe: string;
  state: "waiting" | "sending" | "stored" | "refused";
  /** The zone that its times were read in. */
  zone: string;
  /** What the server said of it. */
  said: string[];
  /** Both sides of a collision with what is stored. */
  differs: Record<string, Json> | null;
  unknownSymbol: boolean;
}

export interface DataFiles {
  dropped: readonly Dropped[];
  symbol: string;
  zone: string;
  setZone: (zone: string) => void;
  setSymbol: (symbol: string) => void;
  add: (files: FileList | File[] | null) => Promise<void>;
  retime: (index: number, timeframe: string) => void;
  remove: (index: number) => void;
  /** Sends what is not stored yet; false where something was refused. */
  store: (replace?: boolean) => Promise<boolean>;
  /** Sends that file again, its times read in that zone, in place of what is stored of it. */
  reread: (index: number, zone: string) => Promise<void>;
}

/** `onStored`: a symbol and a timeframe that are in the store now. */
export function useDataFiles(onStored: (symbol: string, timeframe: string) => void): DataFiles {
  const [dropped, setDropped] = useState<readonly Dropped[]>([]);
  const [symbol, setSymbol] = useState("");
  const [zone, setZone] = useState("");
  const change = (index: number, changes: Partial<Dropped>) => setDropped((before) => before.map((each, row) => (row === index ? { ...each, ...changes } : each)));
  const add = async (files: FileList | File[] | null) => {
    const found = await Promise.all([...(files ?? [])].map(async (file): Promise<Dropped> => ({ file, timeframe: (await timeframeOfFile(file)) ?? "", state: "waiting", zone: "", said: [], differs: null, unknownSymbol: false })));
    setDropped((before) => [...before.filter(({ file }) => !found.some((each) => each.file.name === file.name)), ...found]);
  };
  const store = async (replace = false, files: readonly Dropped[] = dropped, clock = zone) => {
    let isAllStored = true;
    for (const [index, each] of files.entries()) {
      if (each.state === "stored" || each.state === "sending") continue;
      const refused = (said: string[], more: Partial<Dropped> = {}) => {
        isAllStored = false;
        change(index, { state: "refused", said, ...more });
      };
      if (!symbol.trim()) {
        refused(["name the symbol of the files"]);
        continue;
      }
      if (!each.timeframe) {
        refused(["choose the timeframe of this file"]);
        continue;
      }
      change(index, { state: "sending", said: [], differs: null });
      try {
        const { body } = await api.upload<Record<string, Json>>(`/market-data/${encodeURIComponent(symbol.trim())}/${each.timeframe}`, each.file, { timezone: clock, replace: replace ? "true" : null });
        change(index, { state: "stored", said: notesOf(body), zone: clock });
        onStored(typeof body?.["symbol"] === "string" ? body["symbol"] : symbol.trim(), each.timeframe);
      } catch (error) {
        const isDiffering = error instanceof ApiError && error.status === 409 && error.problem.code === "differs";
        refused(saidBy(error as Error), {
          differs: isDiffering ? sidesOf(error.problem as unknown as Record<string, Json>) : null,
          unknownSymbol: error instanceof ApiError && (error.problem.code === "unknown_symbol" || (error.problem.details ?? []).some(({ code }) => code === "unknown_symbol")),
        });
      }
    }
    return isAllStored;
  };
  const reread = async (index: number, clock: string) => {
    setZone(clock);
    await store(true, dropped.map((each, row) => ({ ...each, state: row === index ? "waiting" : "stored" })), clock);
  };
  return { dropped, symbol, zone, setZone, setSymbol, reread, add, retime: (index, timeframe) => change(index, { timeframe, state: "waiting" }), remove: (index) => setDropped((before) => before.filter((_, row) => row !== index)), store };
}

export function DataFilesFields({ files, error }: { files: DataFiles; error: string | undefined }) {
  const isCollision = files.dropped.some(({ differs }) => differs);
  const send = () => {
    if (files.symbol.trim() && files.dropped.some(({ state }) => state === "waiting")) void files.store();
  };
  return (
    <fieldset
      class="drop"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void files.add(event.dataTransfer?.files ?? null);
      }}
    >
      <legend>Or bars of your own</legend>
      <div class="fields">
        <div class="field">
          <label for="files">Files</label>
          <input id="files" type="file" multiple aria-describedby="files-hint" onChange={(event) => void files.add(event.currentTarget.files)} />
          <p class="hint" id="files-hint">
            Drop them here: CSV of MetaTrader, Dukascopy, TradingView and others, Parquet; one a timeframe. They go into the store.
          </p>
        </div>
        <TextField label="Symbol of the files" value={files.symbol} onValue={files.setSymbol} onDone={send} placeholder="EURUSD" error={error} />
        <TextField label="Time zone of the files" value={files.zone} onValue={files.setZone} placeholder="UTC" hint="For times without an offset: Europe/Athens, or America/New_York+7, MetaTrader's usual." />
      </div>
      <ul class="dropped">
        {files.dropped.map((each, index) => (
          <li key={each.file.name}>
            <span class="file-name">{each.file.name}</span>
            <SelectField label={`Timeframe of ${each.file.name}`} value={each.timeframe} onValue={(value) => files.retime(index, value)} choices={[["", "choose"], ...TIMEFRAMES.map((name) => [name, name] as const)]} />
            <span class={`badge ${each.state}`}>{each.state}</span>
            <button type="button" onClick={() => files.remove(index)}>
              Remove {each.file.name}
            </button>
            {each.said.map((line) => (
              <p key={line} class={each.state === "refused" ? "error" : "hint"} role={each.state === "refused" ? "alert" : undefined}>
                {line}
              </p>
            ))}
            {each.state === "stored" && fittingZone(each.said) && (
              <button type="button" onClick={() => void files.reread(index, fittingZone(each.said) as string)}>
                Read its times as {fittingZone(each.said)}, and replace what was stored
              </button>
            )}
            {each.state === "stored" && files.zone.trim() !== each.zone.trim() && (
              <button type="button" onClick={() => void files.reread(index, files.zone)}>
                Read its times as {files.zone.trim() || "UTC"}, and replace what was stored
              </button>
            )}
            {each.differs && <Collision sides={each.differs} />}
            {each.unknownSymbol && <InstrumentFields symbol={files.symbol} onMade={() => void files.store()} />}
          </li>
        ))}
      </ul>
      {files.dropped.length > 0 && (
        <div class="buttons">
          <button type="button" onClick={() => void files.store()}>
            Add to the store
          </button>
          {isCollision && (
            <button type="button" class="danger" onClick={() => void files.store(true)}>
              Replace what is stored
            </button>
          )}
        </div>
      )}
    </fieldset>
  );
}

/** Bars that are stored and bars of the file that are not the same, side by side. */
function Collision({ sides }: { sides: Record<string, Json> }) {
  return (
    <div class="sides" role="group" aria-label="Collision">
      {Object.entries(sides).map(([name, side]) => (
        <div key={name}>
          <h3>{words(name)}</h3>
          {side !== null && typeof side === "object" && !Array.isArray(side) ? (
            <dl class="facts">
              {Object.entries(side).map(([each, value]) => (
                <div key={each}>
                  <dt>{words(each)}</dt>
                  <dd>{typeof value === "object" ? JSON.stringify(value) : String(value)}</dd>
                </div>
              ))}
            </dl>
          ) : (
            <pre tabIndex={0}>{typeof side === "object" ? JSON.stringify(side, null, 1) : String(side)}</pre>
          )}
        </div>
      ))}
    </div>
  );
}

/** What an instrument nobody has described is: four facts. */
function InstrumentFields({ symbol, onMade }: { symbol: string; onMade: () => void }) {
  const [values, setValues] = useState({ base: symbol.slice(0, 3).toUpperCase(), quote: symbol.slice(3, 6).toUpperCase() || "USD", pip: "0.0001", contract: "100000", digits: "5" });
  const [wrong, setWrong] = useState<string[]>([]);
  const field = (name: keyof typeof values, label: string) => <TextField label={label} value={values[name]} onValue={(value) => setValues({ ...values, [name]: value })} />;
  const make = async () => {
    try {
      await api.post("/instruments", { symbol: symbol.trim(), base: values.base, quote: values.quote, pip: Number(values.pip), contract: Number(values.contract), digits: Number(values.digits) });
      onMade();
    } catch (error) {
      setWrong(saidBy(error as Error));
    }
  };
  return (
    <div role="group" aria-label="New instrument" class="card">
      <p>{symbol} is not known yet. What is it?</p>
      <div class="fields">
        {field("base", "Base")}
        {field("quote", "Quote currency")}
        {field("pip", "Pip")}
        {field("contract", "Contract, units a lot")}
        {field("digits", "Digits of the price")}
      </div>
      {wrong.map((line) => (
        <p key={line} class="error" role="alert">
          {line}
        </p>
      ))}
      <button type="button" onClick={() => void make()}>
        Make the instrument
      </button>
    </div>
  );
}

export function saidBy(error: Error): string[] {
  if (!(error instanceof ApiError)) return [error.message];
  const details = (error.problem.details ?? []).map(({ field, message }) => (field ? `${field}: ${message}` : message));
  return details.length ? details : [error.problem.detail ?? error.message];
}

/** The zone that the server found to fit the weekends of the file better than the one it was read in. */
export function fittingZone(said: readonly string[]): string | null {
  const found = said.map((line) => /: timezone=(\S+)/.exec(line)?.[1]).find((each) => each !== undefined);
  return found === undefined ? null : decodeURIComponent(found);
}

function notesOf(body: Record<string, Json> | null): string[] {
  const notes = body?.["notes"];
  return Array.isArray(notes) ? notes.map(String) : typeof notes === "string" ? [notes] : [];
}

const OF_PROBLEMS = new Set(["type", "title", "status", "detail", "code", "details", "instance"]);

function sidesOf(problem: Record<string, Json>): Record<string, Json> {
  return Object.fromEntries(Object.entries(problem).filter(([name]) => !OF_PROBLEMS.has(name)));
}
