// What goes on at the server, as it happens. All windows of a browser share one stream: the one that holds the lock reads
// it and tells the others over a channel; when that window closes, the next one takes over.
import { signal } from "@preact/signals";
import { apiAddress, signInWanted } from "./http_source";
import { EventReader } from "./sse";

export type Connection = "live" | "lost";

/** The last news of a run or a search: the event's data, and its type's last word. */
export interface News {
  kind: string;
  run_id?: number;
  optimization_id?: number;
  status: string;
  progress_pct: number;
  sequence: number;
  [field: string]: unknown;
}

type Message = { news: News } | { connection: Connection } | { asked: true } | { signedIn: true };

const NAME = "backtest-events";
const SILENT_AFTER_MS = 40_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 4_000;

export const connection = signal<Connection>("lost");
/** Whether there ever was a connection, or an attempt that failed: before that nothing is lost. */
export const connectionTold = signal(false);
/** Rises when a connection stands again: what was loaded before may be old. */
export const reconnections = signal(0);
export const runNews = signal<ReadonlyMap<number, News>>(new Map());
export const optimizationNews = signal<ReadonlyMap<number, News>>(new Map());
/** Rises whenever something begins or ends: lists and figures have changed. */
export const changes = signal(0);

/** Follow the server for as long as the window is open. */
export function followServer(): void {
  const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(NAME) : null;
  const tell = (message: Message) => {
    receive(message);
    channel?.postMessage(message);
  };
  let leads = false;
  if (channel) {
    channel.onmessage = ({ data }: MessageEvent<Message>) => {
      if (!("asked" in data)) receive(data);
      else if (leads) channel.postMessage({ connection: connection.peek() });
    };
    channel.postMessage({ asked: true });
  }
  const lead = async () => {
    leads = true;
    await readForEver(tell);
  };
  // Web Locks are missing where the page is not served over https or from this machine: then each window reads alone.
  if (navigator.locks && channel) void navigator.locks.request(NAME, lead);
  else void lead();
}

/** Somebody signed in, in this window or another one: all that was refused is asked for again. */
export function signedIn(): void {
  if (typeof BroadcastChannel === "function") {
    const channel = new BroadcastChannel(NAME);
    channel.postMessage({ signedIn: true } satisfies Message);
    channel.close();
  }
  receive({ signedIn: true });
}

function receive(message: Message): void {
  if ("signedIn" in message) {
    signInWanted.value = false;
    reconnections.value += 1;
  } else if ("connection" in message) connectionIs(message.connection);
  else if ("news" in message) heard(message.news);
}

function connectionIs(state: Connection): void {
  const wasLost = connectionTold.peek() && connection.peek() === "lost";
  connectionTold.value = true;
  connection.value = state;
  if (state === "live" && wasLost) reconnections.value += 1;
}

/** Keep what is newer than what is known. */
export function heard(news: News): void {
  const [known, id] = news.optimization_id !== undefined ? [optimizationNews, news.optimization_id] : [runNews, news.run_id];
  if (typeof id !== "number") return;
  const before = known.peek().get(id);
  if (before && news.sequence < before.sequence) return;
  known.value = new Map(known.peek()).set(id, news);
  if (before?.status !== news.status || news.kind !== "progress") changes.value += 1;
}

async function readForEver(tell: (message: Message) => void): Promise<never> {
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    const began = Date.now();
    if (signInWanted.peek()) await untilSignedIn();
    await readOnce(tell).catch(() => undefined);
    if (!signInWanted.peek()) tell({ connection: "lost" });
    if (Date.now() - began > 10_000) pause = FIRST_PAUSE_MS;
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 1.6, LONGEST_PAUSE_MS);
  }
}

/** Reads until the connection ends, whoever ended it. */
async function readOnce(tell: (message: Message) => void): Promise<void> {
  const stopping = new AbortController();
  let silence = setTimeout(() => stopping.abort(), SILENT_AFTER_MS);
  const gone = () => stopping.abort();
  addEventListener("offline", gone);
  const signedOut = signInWanted.subscribe((wanted) => wanted && stopping.abort());
  try {
    const response = await fetch(apiAddress("/events"), {
      headers: { Accept: "text/event-stream" },
      credentials: "same-origin",
      cache: "no-store",
      signal: stopping.signal,
    });
    if (response.status === 401) signInWanted.value = true;
    if (!response.ok || !response.body) return;
    tell({ connection: "live" });
    const events = new EventReader();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(() => stopping.abort(), SILENT_AFTER_MS);
      for (const { event, data } of events.read(value)) tell({ news: { ...(JSON.parse(data) as News), kind: event } });
    }
  } finally {
    clearTimeout(silence);
    removeEventListener("offline", gone);
    signedOut();
    stopping.abort();
  }
}

function untilSignedIn(): Promise<void> {
  return new Promise((resolve) => {
    const stop = signInWanted.subscribe((wanted) => {
      if (wanted) return;
      queueMicrotask(() => stop());
      resolve();
    });
  });
}
