// The API over HTTP.
import { signal } from "@preact/signals";
import { ApiError, type Query, type Source, Unreachable, queryText } from "./source";
import type { Problem } from "./types";

/** Whether the server asks who is there: the sign-in screen stands in place of every other. */
export const signInWanted = signal(false);
/** How many requests are out. */
export const requestsOut = signal(0);

/** `/v1` below the address the page is served at. */
export function apiAddress(path: string, query?: Query): string {
  return new URL(`v1${path}${queryText(query)}`, document.baseURI).toString();
}

export interface Answer<T> {
  status: number;
  body: T;
  headers: Headers;
}

export const api = {
  get: <T>(path: string, query?: Query) => sent<T>("GET", path, { query }),
  post: <T>(path: string, body: unknown, headers: Record<string, string> = {}) =>
    sent<T>("POST", path, { body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } }),
  patch: <T>(path: string, body: unknown, headers: Record<string, string>) =>
    sent<T>("PATCH", path, { body: JSON.stringify(body), headers: { "Content-Type": "application/merge-patch+json", ...headers } }),
  remove: (path: string, query?: Query) => sent<null>("DELETE", path, { query }),
  /** As a form, which tells the file's name: its ending says what it is. */
  upload: <T>(path: string, file: File, query: Query) => {
    const form = new FormData();
    form.set("file", file, file.name);
    return sent<T>("POST", path, { query, body: form });
  },
};

export const httpSource: Source = {
  embedded: false,
  get: async <T>(path: string, query?: Query) => (await api.get<T>(path, query)).body,
};

interface Options {
  query?: Query | undefined;
  body?: BodyInit;
  headers?: Record<string, string>;
}

async function sent<T>(method: string, path: string, { query, body, headers }: Options): Promise<Answer<T>> {
  requestsOut.value += 1;
  try {
    const response = await fetched(apiAddress(path, query), {
      method,
      headers: { Accept: "application/json", ...headers },
      credentials: "same-origin",
      ...(body === undefined ? {} : { body }),
    });
    if (response.status === 401 && path !== "/session") signInWanted.value = true;
    if (!response.ok) throw new ApiError(response.status, await problemOf(response));
    const text = response.status === 204 ? "" : await response.text();
    return { status: response.status, body: (text ? JSON.parse(text) : null) as T, headers: response.headers };
  } finally {
    requestsOut.value -= 1;
  }
}

async function fetched(address: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(address, init);
  } catch (error) {
    throw new Unreachable("the server does not answer", { cause: error });
  }
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return { title: response.statusText || `the server answered ${response.status}`, status: response.status };
  }
}
