// Where the person is: a path and a query, in the address, so that what is seen can be shared, reloaded and gone back to.
import { computed, signal } from "@preact/signals";

export interface Place {
  path: string;
  query: URLSearchParams;
}

/** How an address is kept: in the window's own, or behind the # of a report, which has no server. */
interface Keeper {
  read(): string;
  write(text: string, replace: boolean): void;
  shown(text: string): string;
}

let keeper: Keeper | null = null;
const address = signal("/");

export const place = computed<Place>(() => {
  const [path = "/", words = ""] = address.value.split("?");
  return { path: path || "/", query: new URLSearchParams(words) };
});

/** Begins to follow the window's address. Call it once. */
export function followAddress(kind: "path" | "hash"): void {
  const chosen = kind === "path" ? pathKeeper() : hashKeeper();
  keeper = chosen;
  address.value = chosen.read();
  addEventListener(kind === "path" ? "popstate" : "hashchange", () => (address.value = chosen.read()));
}

/** Go to a place; the zone goes along. `replace`: the step back passes over what was here. */
export function go(to: string, replace = false): void {
  const carried = withZone(to);
  if (carried === address.peek()) return;
  address.value = carried;
  keeper?.write(carried, replace);
}

/** Change words of the query, null takes one away. The step back passes over it unless `replace` is false. */
export function setQuery(words: Record<string, string | number | null>, replace = true): void {
  const { path, query } = place.peek();
  const changed = new URLSearchParams(query);
  for (const [name, value] of Object.entries(words)) {
    if (value === null || value === "") changed.delete(name);
    else changed.set(name, String(value));
  }
  const text = queryText(changed);
  go(text ? `${path}?${text}` : path, replace);
}

/** The address to write into a link. */
export function href(to: string): string {
  const carried = withZone(to);
  return keeper ? keeper.shown(carried) : carried;
}

function withZone(to: string): string {
  const zone = place.peek().query.get("zone");
  const [path = "/", words = ""] = to.split("?");
  const query = new URLSearchParams(words);
  if (zone && !query.has("zone")) query.set("zone", zone);
  if (query.get("zone") === "utc") query.delete("zone");
  const text = queryText(query);
  return text ? `${path}?${text}` : path;
}

/** As people write it: commas and colons need no escape in a query. */
function queryText(query: URLSearchParams): string {
  return query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

function pathKeeper(): Keeper {
  const root = new URL(document.baseURI).pathname.replace(/\/$/, "");
  return {
    read: () => (location.pathname.slice(root.length) || "/") + location.search,
    write: (text, replace) => history[replace ? "replaceState" : "pushState"](null, "", root + text),
    shown: (text) => root + text,
  };
}

function hashKeeper(): Keeper {
  return {
    read: () => location.hash.slice(1) || "/",
    write: (text, replace) => {
      try {
        history[replace ? "replaceState" : "pushState"](null, "", `#${text}`);
      } catch {
        // A sandboxed document may not write its address: the place is kept all the same.
      }
    },
    shown: (text) => `#${text}`,
  };
}
