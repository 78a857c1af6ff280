// Tabs whose choice stands in the address.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { capital } from "./shown";

export function Tabs({ names, current, onTab, children, label }: { names: readonly string[]; current: string; onTab: (name: string) => void; children: ComponentChildren; label: string }) {
  const list = useRef<HTMLDivElement>(null);
  // On a phone not all of them fit: the chosen one is in sight.
  useEffect(() => {
    const [row, tab] = [list.current, list.current?.querySelector<HTMLElement>(`#tab-${current}`)];
    if (row && tab) row.scrollLeft = Math.min(tab.offsetLeft - row.offsetLeft, Math.max(row.scrollLeft, tab.offsetLeft - row.offsetLeft + tab.offsetWidth - row.clientWidth));
  }, [current]);
  const move = (event: KeyboardEvent) => {
    const index = names.indexOf(current);
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const name = names[(to + names.length) % names.length] as string;
    onTab(name);
    list.current?.querySelector<HTMLElement>(`#tab-${name}`)?.focus();
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={move}>
        {names.map((name) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`tab-${name}`}
            aria-selected={name === current}
            aria-controls={name === current ? "tab-panel" : undefined}
            tabIndex={name === current ? 0 : -1}
            onClick={() => onTab(name)}
          >
            {capital(name)}
          </button>
        ))}
      </div>
      <div id="tab-panel" role="tabpanel" aria-labelledby={`tab-${current}`}>
        {children}
      </div>
    </>
  );
}
