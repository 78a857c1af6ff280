// What is done a moment later, so that it is done once: until then the page is not ready.
import { signal } from "@preact/signals";

/** How many such moments are awaited. */
export const waiting = signal(0);

/** Calls `work` after so long; gives what takes that back. */
export function later(milliseconds: number, work: () => void): () => void {
  let isAwaited = true;
  const over = () => {
    if (isAwaited) waiting.value -= 1;
    isAwaited = false;
  };
  waiting.value += 1;
  const timer = setTimeout(() => {
    work();
    over();
  }, milliseconds);
  return () => {
    clearTimeout(timer);
    over();
  };
}
