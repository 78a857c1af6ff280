// Parameters as fields: what a JSON Schema says of them, and what was typed as JSON.
import type { Json, Schema, StrategyKey } from "./types";

export interface Parameter {
  name: string;
  schema: Schema;
  /** What it is without being given; undefined: the schema names none. */
  standard: Json | undefined;
  hint: string;
  choices: string[] | null;
  isList: boolean;
}

/** Parameters in the schema's order, from an answer of /strategy-keys/{key}. */
export function parametersOf(key: StrategyKey | null): Parameter[] {
  const schema = schemaOf(key);
  if (!schema?.properties) return [];
  return Object.entries(schema.properties).map(([name, raw]) => parameter(name, resolved(raw, schema)));
}

export function schemaOf(key: StrategyKey | null): Schema | null {
  const found = key && (key.params ?? key.schema);
  return found ? (found as Schema) : null;
}

function parameter(name: string, schema: Schema): Parameter {
  const plain = withoutNull(schema);
  const kinds = [plain.type].flat();
  return {
    name,
    schema: plain,
    standard: schema.default,
    hint: [schema.description ?? "", bounds(plain), schema.default === undefined || schema.default === null ? "" : `default ${typed(schema.default)}`].filter(Boolean).join("; "),
    choices: plain.enum ? plain.enum.map(typed) : kinds.includes("boolean") ? ["true", "false"] : null,
    isList: kinds.includes("array"),
  };
}

/** The schema a $ref names; what stands beside the reference wins. */
function resolved(schema: Schema, root: Schema): Schema {
  if (!schema.$ref) return schema.allOf?.length === 1 && schema.allOf[0] ? { ...resolved(schema.allOf[0], root), ...schema } : schema;
  const found = root.$defs?.[schema.$ref.replace("#/$defs/", "")];
  return found ? { ...resolved(found, root), ...schema } : schema;
}

function withoutNull(schema: Schema): Schema {
  const kinds = schema.anyOf?.filter((each) => each.type !== "null");
  return kinds?.length === 1 && kinds[0] ? { ...schema, ...kinds[0] } : schema;
}

function bounds({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Schema): string {
  const parts = [
    minimum !== undefined ? `from ${minimum}` : exclusiveMinimum !== undefined ? `above ${exclusiveMinimum}` : "",
    maximum !== undefined ? `to ${maximum}` : exclusiveMaximum !== undefined ? `below ${exclusiveMaximum}` : "",
  ];
  return parts.filter(Boolean).join(" ");
}

/** A value as it stands in a field. */
export function typed(value: Json | undefined): string {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value) && value.every((each) => typeof each === "string" || typeof each === "number")) return value.join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** What was typed, as JSON. What cannot be read goes as text: the server says what is wrong with it. */
export function valueOf(text: string, { schema, isList, choices }: Pick<Parameter, "schema" | "isList" | "choices">): Json {
  const trimmed = text.trim();
  if (isList && !trimmed.startsWith("[")) return trimmed.split(",").map((each) => itemOf(each.trim(), schema.items)).filter((each) => each !== "");
  if (choices?.join() === "true,false") return trimmed === "true" ? true : trimmed === "false" ? false : trimmed;
  const kinds = [schema.type].flat();
  if (trimmed.startsWith("{") || trimmed.startsWith("[")) return parsed(trimmed);
  if (kinds.includes("string") && !kinds.includes("number") && !kinds.includes("integer")) return trimmed;
  return numberOf(trimmed);
}

function itemOf(text: string, items: Schema | undefined): Json {
  return items?.type === "integer" || items?.type === "number" ? numberOf(text) : text;
}

/** A number where it is one, else the text. */
export function numberOf(text: string): Json {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim()) ? Number(text) : text.trim();
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
