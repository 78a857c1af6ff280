// Tables one can sort, and read on a phone.
import type { ComponentChildren } from "preact";

export interface Column<T> {
  name: string;
  title: string;
  /** Whether the title is for who listens alone: its cells speak for themselves. */
  isTitleUnseen?: boolean;
  /** Whether its header sorts. */
  sorts?: boolean;
  isNumber?: boolean;
  cell: (row: T) => ComponentChildren;
}

interface Props<T> {
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  keyOf: (row: T) => string | number;
  /** "name" or "-name" */
  sort?: string;
  onSort?: (sort: string) => void;
  rowClass?: (row: T) => string;
  onRow?: (row: T) => void;
  empty?: string;
}

export function DataTable<T>({ label, columns, rows, keyOf, sort = "", onSort, rowClass, onRow, empty = "Nothing here." }: Props<T>) {
  return (
    <div class="table-frame" tabIndex={0} role="group" aria-label={`${label}, scrolls sideways`}>
      <table aria-label={label}>
        <thead>
          <tr>
            {columns.map(({ name, title, isTitleUnseen, sorts, isNumber }) => (
              <th key={name} scope="col" class={isNumber ? "number" : ""} aria-sort={sorts ? direction(sort, name) : undefined}>
                {sorts && onSort ? (
                  <button type="button" class="sorter" onClick={() => onSort(turned(sort, name))}>
                    {title}
                  </button>
                ) : (
                  <span class={isTitleUnseen ? "unseen" : ""}>{title}</span>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)} class={rowClass?.(row) ?? ""} onClick={onRow && ((event) => isPlain(event) && onRow(row))}>
              {columns.map(({ name, isNumber, cell }) => (
                <td key={name} class={isNumber ? "number" : ""}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
          {rows.length === 0 && (
            <tr>
              <td colSpan={columns.length} class="none">
                {empty}
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
}

function direction(sort: string, name: string): "ascending" | "descending" | "none" {
  if (sort === name) return "ascending";
  return sort === `-${name}` ? "descending" : "none";
}

/** The largest first, then the smallest. */
function turned(sort: string, name: string): string {
  return sort === `-${name}` ? name : `-${name}`;
}

/** A click that meant the row, not a control in it or its text. */
function isPlain(event: MouseEvent): boolean {
  return !(event.target as Element).closest("a, button, input, select, label") && !getSelection()?.toString();
}

/** Rows by a column, nulls last in either direction, equal ones as they came. */
export function sorted<T>(rows: readonly T[], sort: string, valueOf: (row: T, name: string) => unknown): T[] {
  if (!sort) return [...rows];
  const falls = sort.startsWith("-");
  const name = falls ? sort.slice(1) : sort;
  const keyed = rows.map((row): [T, unknown] => [row, valueOf(row, name)]);
  keyed.sort(([, a], [, b]) => {
    const [missingA, missingB] = [a === null || a === undefined, b === null || b === undefined];
    if (missingA || missingB) return Number(missingA) - Number(missingB);
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
    return falls ? -order : order;
  });
  return keyed.map(([row]) => row);
}

export function Pager({ page, pages, onPage, what }: { page: number; pages: number; onPage: (page: number) => void; what: string }) {
  if (pages <= 1) return null;
  return (
    <div class="pager">
      <button type="button" disabled={page <= 0} onClick={() => onPage(page - 1)}>
        Previous {what}
      </button>
      <span>
        Page {page + 1} of {pages}
      </span>
      <button type="button" disabled={page >= pages - 1} onClick={() => onPage(page + 1)}>
        Next {what}
      </button>
    </div>
  );
}
