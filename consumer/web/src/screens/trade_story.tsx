// Why a trade was made, and what came of it.
import type { Position } from "../chart/positions";
import { figureText, priceText, words } from "../core/figures";
import type { Json, Trade } from "../core/types";
import { Time } from "../parts/shown";

/** Where the decision was made: an entry at a close is the deciding bar's own, any other lies behind it. */
export function decidedBefore(position: Position): number {
  return position.rows[0]?.entry_at === "close" ? position.entry : position.entry - 1;
}

export function TradeStory({ position, isOpen, currency, digits, values }: { position: Position | null; isOpen: boolean; currency: string; digits: number; values: Readonly<Record<string, number>> | null }) {
  if (!position) return <p class="hint">The selected trade has not begun yet.</p>;
  const row = position.rows[0] as Trade;
  const profit = position.exits.reduce((sum, exit) => sum + exit.profit, 0);
  return (
    <section aria-label={`Trade ${position.id}`}>
      <h2>
        Trade {position.id}: <span class={position.direction === "BUY" ? "buy" : "sell"}>{position.direction}</span>
      </h2>
      <dl class="facts">
        <Fact title="Entry">
          <Time at={position.entry} /> at {priceText(position.entryPrice, digits)}
          {row.entry_at && ` (${words(row.entry_at)})`}
        </Fact>
        {position.stopAtEntry !== null && <Fact title="Stop at entry">{priceText(position.stopAtEntry, digits)}</Fact>}
        {position.exits.map((exit, index) => (
          <Fact key={index} title={`Exit, ${words(exit.reason)}`}>
            <Time at={exit.time} /> at {priceText(exit.price, digits)}: {figureText(exit.profit, "money", currency)}
          </Fact>
        ))}
        {isOpen && <Fact title="State">open at this moment</Fact>}
        {!isOpen && (
          <>
            <Fact title="Profit">
              <span class={profit < 0 ? "negative" : ""}>{figureText(profit, "money", currency)}</span>
            </Fact>
            <OfExits title="MAE, against it" rows={position.rows} text={({ mae, mae_price }) => excursion(mae, mae_price, digits, currency)} />
            <OfExits title="MFE, for it" rows={position.rows} text={({ mfe, mfe_price }) => excursion(mfe, mfe_price, digits, currency)} />
            <OfExits title="R, profit over risk" rows={position.rows} text={({ r }) => figureText(r, "ratio")} />
          </>
        )}
      </dl>
      <h3>Why</h3>
      <Why row={row} />
      {values && Object.keys(values).length > 0 && (
        <>
          <h3>Values at the close it was decided at</h3>
          <dl class="facts">
            {Object.entries(values).map(([name, value]) => (
              <Fact key={name} title={name}>
                {Number(value.toPrecision(8))}
              </Fact>
            ))}
          </dl>
        </>
      )}
    </section>
  );
}

/** Each exit has its own: of its volume, until it left. */
function OfExits({ title, rows, text }: { title: string; rows: readonly Trade[]; text: (row: Trade) => string }) {
  return (
    <Fact title={title}>
      {rows.map((row, index) => (
        <div key={index}>
          {rows.length > 1 && `exit ${index + 1}: `}
          {text(row)}
        </div>
      ))}
    </Fact>
  );
}

function Fact({ title, children }: { title: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{title}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function excursion(money: number | null | undefined, price: number | null | undefined, digits: number, currency: string): string {
  if (money === null || money === undefined) return "–";
  return price === null || price === undefined ? figureText(money, "money", currency) : `${figureText(money, "money", currency)} (${priceText(price, digits)} in price)`;
}

/** What the strategy gave as its reason; a model's words are text, never markup. */
function Why({ row }: { row: Trade }) {
  const told = typeof row.pattern_metadata === "string" ? parsed(row.pattern_metadata) : row.pattern_metadata;
  const source = { rule: "A rule of the strategy", llm: "A language model", signals: "A file of signals" }[row.source ?? ""] ?? "The strategy";
  return (
    <>
      <p>
        {source} decided{row.pattern_name ? `: ${words(row.pattern_name)}` : ""}.
      </p>
      {told !== null && told !== undefined && typeof told === "object" && !Array.isArray(told) ? (
        <dl class="facts">
          {Object.entries(told).map(([name, value]) => (
            <Fact key={name} title={words(name)}>
              {typeof value === "object" ? JSON.stringify(value) : String(value)}
            </Fact>
          ))}
        </dl>
      ) : (
        told !== null && told !== undefined && <p>{String(told)}</p>
      )}
    </>
  );
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
