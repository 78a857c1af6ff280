// Form fields: a label, its control, a hint, and what is wrong with it in the server's words.
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface Common {
  label: string;
  value: string;
  onValue: (value: string) => void;
  error?: string | undefined;
  hint?: string | undefined;
  disabled?: boolean;
}

interface Described {
  id: string;
  "aria-invalid"?: "true";
  "aria-describedby"?: string;
}

function Shell({ label, error, hint, children }: { label: string; error?: string | undefined; hint?: string | undefined; children: (props: Described) => ComponentChildren }) {
  const id = useId();
  const described = [error ? `${id}-error` : "", hint ? `${id}-hint` : ""].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, ...(error ? { "aria-invalid": "true" } : {}), ...(described ? { "aria-describedby": described } : {}) })}
      {error && (
        <p class="error" id={`${id}-error`}>
          {error}
        </p>
      )}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

export function TextField({ label, value, onValue, error, hint, disabled, type = "text", placeholder, numeric, onDone }: Common & { type?: string; placeholder?: string; numeric?: boolean; onDone?: () => void }) {
  return (
    <Shell label={label} error={error} hint={hint}>
      {(described) => (
        <input
          {...described}
          type={type}
          value={value}
          placeholder={placeholder}
          disabled={disabled}
          autocomplete="off"
          spellcheck={false}
          inputMode={numeric ? "decimal" : undefined}
          onInput={(event) => onValue(event.currentTarget.value)}
          onChange={() => onDone?.()}
        />
      )}
    </Shell>
  );
}

export function AreaField({ label, value, onValue, error, hint, rows = 4, code }: Common & { rows?: number; code?: boolean }) {
  return (
    <Shell label={label} error={error} hint={hint}>
      {(described) => <textarea {...described} rows={rows} class={code ? "code" : ""} value={value} spellcheck={false} onInput={(event) => onValue(event.currentTarget.value)} />}
    </Shell>
  );
}

export type Choice = readonly [value: string, text: string];

export function SelectField({ label, value, onValue, error, hint, disabled, choices }: Common & { choices: readonly Choice[] }) {
  const isThere = choices.some(([each]) => each === value);
  return (
    <Shell label={label} error={error} hint={hint}>
      {(described) => (
        <select {...described} disabled={disabled} value={value} onChange={(event) => onValue(event.currentTarget.value)}>
          {!isThere && <option value={value}>{value || "–"}</option>}
          {choices.map(([each, text]) => (
            <option key={each} value={each} selected={each === value}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Shell>
  );
}

export function CheckField({ label, checked, onChecked, hint }: { label: string; checked: boolean; onChecked: (checked: boolean) => void; hint?: string }) {
  const id = useId();
  return (
    <div class="field check">
      <input id={id} type="checkbox" checked={checked} aria-describedby={hint ? `${id}-hint` : undefined} onChange={(event) => onChecked(event.currentTarget.checked)} />
      <label for={id}>{label}</label>
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

/** The first field at fault gets the focus, so that who listens or types is where the mistake is. */
export function focusFirstFault(form: HTMLElement | null): void {
  requestAnimationFrame(() => (form?.querySelector<HTMLElement>('[aria-invalid="true"]') ?? form?.querySelector<HTMLElement>("[role=alert]"))?.focus());
}
