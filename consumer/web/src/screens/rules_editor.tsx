// The document of rules in an editor: help beside it, mistakes with line and column, and a way to each.
import { useRef } from "preact/hooks";
import { schemaOf } from "../core/schema";
import type { FieldError, StrategyKey } from "../core/types";
import { AreaField } from "../parts/fields";
import { jsonError, offsetOf, placeOf } from "./rules_document";

const NAMES = "open high low close volume spread hour minute weekday";
const FUNCTIONS = [
  "sma ema wma rsi stddev highest lowest roc (x, n)",
  "atr adx plus_di minus_di cci (n), obv ()",
  "macd macd_signal macd_hist (x, fast, slow, signal)",
  "bollinger_upper bollinger_lower (x, n, m)",
  "stoch_k stoch_d (n, smooth, signal), supertrend (n, m)",
  'candle ("engulfing"), crosses_above crosses_below (x, y)',
  "rising bars_since (c), any all (c, n)",
  "pips abs sqrt log (x), min max (x, y, ...), x[n]: n bars ago",
];

export function RulesEditor({ text, onText, errors, schema }: { text: string; onText: (text: string) => void; errors: readonly FieldError[]; schema: StrategyKey | null }) {
  const frame = useRef<HTMLFieldSetElement>(null);
  const own = jsonError(text);
  const told = errors.map((error) => ({ error, place: placeOf(text, error) }));
  const words = told.map(({ error, place }) => `${error.field.replace(/^strategy_params\.?/, "") || "document"}: ${error.message}${place ? ` (line ${place.line}, column ${place.column})` : ""}`).join("; ");
  const select = (offset: number) => {
    const area = frame.current?.querySelector("textarea");
    area?.focus();
    area?.setSelectionRange(offset, offset + 1);
  };
  const properties = Object.entries(schemaOf(schema)?.properties ?? {});
  return (
    <fieldset ref={frame}>
      <legend>Rules</legend>
      <div class="editor">
        <div>
          <AreaField label="Rules document" code rows={18} value={text} onValue={onText} error={words || (own ? `${own.message}${own.place ? ` (line ${own.place.line}, column ${own.place.column})` : ""}` : undefined)} />
          <div class="buttons">
            {told.map(({ error, place }) =>
              place ? (
                <button key={error.field + error.message} type="button" onClick={() => select(offsetOf(text, place))}>
                  To line {place.line}, column {place.column}
                </button>
              ) : null,
            )}
            {own === null && (
              <button type="button" onClick={() => onText(JSON.stringify(JSON.parse(text), null, 2))}>
                Tidy up
              </button>
            )}
          </div>
        </div>
        <details class="help" open>
          <summary>What can stand here</summary>
          <dl>
            {properties.map(([name, { description }]) => (
              <div key={name}>
                <dt>
                  <code>{name}</code>
                </dt>
                <dd>{description ?? ""}</dd>
              </div>
            ))}
          </dl>
          <p>
            Names: <code>{NAMES}</code>, params and indicators.
          </p>
          <ul>
            {FUNCTIONS.map((line) => (
              <li key={line}>
                <code>{line}</code>
              </li>
            ))}
          </ul>
        </details>
      </div>
    </fieldset>
  );
}
