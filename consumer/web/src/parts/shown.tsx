// Small things that every screen shows: links, figures, loads, statuses.
import type { ComponentChildren } from "preact";
import { FIGURES, type Unit, figureText } from "../core/figures";
import { type Loaded, errorText } from "../core/load";
import { go, href } from "../core/router";
import { Unreachable } from "../core/source";
import { timeText, zoneLabel } from "../core/zones";

/** A link inside the page: a plain click stays here, every other one is the browser's. */
export function Link({ to, children, class: look, current, label }: { to: string; children: ComponentChildren; class?: string; current?: boolean; label?: string }) {
  return (
    <a
      href={href(to)}
      class={look}
      aria-current={current ? "page" : undefined}
      aria-label={label}
      onClick={(event) => {
        if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        go(to);
      }}
    >
      {children}
    </a>
  );
}

/** A figure with its full value for programs, and for people with its unit; without a value the reason stands beside it. */
export function Figure({ name, metric = name, value, currency, reason, unit = FIGURES[name]?.unit }: { name: string; metric?: string; value: number | null | undefined; currency?: string | undefined; reason?: string | undefined; unit?: Unit | undefined }) {
  const isThere = value !== null && value !== undefined;
  const sign = isThere && value < 0 && (unit === "money" || unit === "percent") ? "negative" : "";
  return (
    <>
      <data data-metric={metric} value={isThere ? String(value) : ""} class={sign}>
        {isThere ? figureText(value, unit, currency) : ""}
      </data>
      {!isThere && <span class="none">{reason ? reasonText(reason) : "–"}</span>}
    </>
  );
}

function reasonText(reason: string): string {
  if (reason === "walk_forward") return "none for a walk-forward";
  return `none: ${reason.replaceAll("_", " ")}`;
}

/** A time in the chosen zone. The zone stands in the title of a page's table, and here for who asks. */
export function Time({ at }: { at: string | number | null | undefined }) {
  const text = timeText(at);
  if (!text) return <span class="none">–</span>;
  const iso = typeof at === "number" ? new Date(at * 1000).toISOString() : (at as string);
  return (
    <time dateTime={iso} title={`${text} ${zoneLabel.value}`}>
      {text}
    </time>
  );
}

/** Whether a value is a time as the API writes it. */
export function isTime(value: unknown): value is string {
  return typeof value === "string" && /^\d{4}-\d{2}-\d{2}T[\d:.]+Z$/.test(value);
}

/** What is loaded, or that it loads, or why it is not there. */
export function Shown<T>({ load, children, what }: { load: Loaded<T>; children: (value: T) => ComponentChildren; what: string }) {
  if (load.value !== null) return <>{children(load.value)}</>;
  if (load.error) return <Trouble error={load.error} what={what} again={load.again} />;
  return <p class="loading">Loading {what} …</p>;
}

export function Trouble({ error, what, again }: { error: Error; what: string; again?: () => void }) {
  return (
    <div class="trouble" role="alert" tabIndex={-1}>
      <p>{error instanceof Unreachable ? `${capital(what)} cannot be loaded now: the server does not answer. It is tried again when the connection is back.` : errorText(error)}</p>
      {again && !(error instanceof Unreachable) && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

export function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

export function StatusWord({ status }: { status: string }) {
  return <span class={`badge ${status}`}>{status}</span>;
}

export function Progress({ percent, label }: { percent: number; label: string }) {
  return (
    <span class="progress">
      <progress max={100} value={percent} aria-label={label} />
      <span aria-hidden="true">{percent} %</span>
    </span>
  );
}

export function isAtWork(status: string): boolean {
  return status === "pending" || status === "running";
}
