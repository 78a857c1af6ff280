// The parameters of a strategy as fields.
import { type Parameter, typed } from "../core/schema";
import type { Json } from "../core/types";
import { SelectField, TextField } from "./fields";

/** `own`: values of the strategy's row, which stand in the fields until something else is typed. */
export function ParameterFields({ parameters, own, typedIn, onTyped, errors }: { parameters: readonly Parameter[]; own: Readonly<Record<string, Json>>; typedIn: Readonly<Record<string, string>>; onTyped: (name: string, text: string) => void; errors: (name: string) => string | undefined }) {
  if (!parameters.length) return null;
  return (
    <fieldset>
      <legend>Parameters of the strategy</legend>
      <div class="fields">
        {parameters.map(({ name, standard, hint, choices }) => {
          const value = typedIn[name] ?? typed(name in own ? own[name] : standard);
          const common = { label: name, value, hint, error: errors(name), onValue: (text: string) => onTyped(name, text) };
          return choices ? <SelectField key={name} {...common} choices={choices.map((each) => [each, each])} /> : <TextField key={name} {...common} placeholder="not set" />;
        })}
      </div>
    </fieldset>
  );
}
