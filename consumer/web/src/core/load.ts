// Loading what a screen shows, again where it changed or a lost connection stands again.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { reconnections } from "./live";
import { ApiError, Unreachable } from "./source";

export interface Loaded<T> {
  value: T | null;
  error: Error | null;
  loading: boolean;
  again: () => void;
}

/** How many loads are out, or shown by nobody yet: the page is not ready. */
export const loadsOut = signal(0);

/** What `load` gives. Loads anew when `wanted`, a text that names it, changes; an empty one loads nothing. `version`
 * loads anew too and keeps what is shown until then. */
export function useLoad<T>(wanted: string, load: () => Promise<T>, version: unknown = 0): Loaded<T> {
  const [state, setState] = useState<{ wanted: string; value: T | null; error: Error | null; loading: boolean }>({ wanted: "", value: null, error: null, loading: true });
  const [asked, setAsked] = useState(0);
  const connected = reconnections.value;
  useEffect(() => {
    if (!wanted) return;
    let current = true;
    let counted = true;
    const done = () => {
      if (counted) loadsOut.value -= 1;
      counted = false;
    };
    loadsOut.value += 1;
    setState((before) => (before.wanted === wanted ? { ...before, loading: true } : { wanted, value: null, error: null, loading: true }));
    load().then(
      (value) => current && setState({ wanted, value, error: null, loading: false }),
      (error: unknown) => current && setState((before) => failed(before, wanted, error)),
    ).finally(() => setTimeout(done));
    return () => {
      current = false;
      done();
    };
  }, [wanted, version, asked, connected]);
  const fresh = state.wanted === wanted;
  return { value: fresh ? state.value : null, error: fresh ? state.error : null, loading: wanted !== "" && (!fresh || state.loading), again: () => setAsked((count) => count + 1) };
}

/** Where the server cannot be reached, what was shown stays. */
function failed<T>(before: { wanted: string; value: T | null }, wanted: string, error: unknown) {
  const kept = before.wanted === wanted && error instanceof Unreachable ? before.value : null;
  return { wanted, value: kept, error: error instanceof Error ? error : new Error(String(error)), loading: false };
}

/** An error as a sentence for people. */
export function errorText(error: Error): string {
  if (error instanceof ApiError && error.problem.details?.length) {
    const words = error.problem.details.map(({ field, message }) => (field ? `${field}: ${message}` : message));
    return [...new Set(words)].join("; ");
  }
  return error.message;
}
