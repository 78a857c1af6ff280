// The part of Node that the tests use; the page itself knows no Node.
declare module "node:test" {
  export function test(name: string, body: () => void | Promise<void>): void;
}
declare module "node:assert/strict" {
  export function equal(actual: unknown, expected: unknown): void;
  export function deepEqual(actual: unknown, expected: unknown): void;
  export function rejects(promise: Promise<unknown>, error: RegExp): Promise<void>;
}
