// Columns of numbers as differences of whole numbers: a third of their length as text, and exact.

/** value[i] = (deltas[0] + ... + deltas[i]) / scale; whoever packs has checked that this gives every value back. */
export interface Packed {
  scale: number;
  deltas: number[];
}

export function isPacked(value: unknown): value is Packed {
  return typeof value === "object" && value !== null && "deltas" in value && "scale" in value;
}

/** The column that `packed` stands for; anything else as it is. */
export function unpacked(value: unknown): unknown[] {
  if (!isPacked(value)) return Array.isArray(value) ? value : [];
  let sum = 0;
  return value.deltas.map((delta) => (sum += delta) / value.scale);
}
