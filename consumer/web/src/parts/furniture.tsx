// What stands around every screen.
import { ZONES, setZone, zone } from "../core/zones";
import { SelectField } from "./fields";

export function ZoneField() {
  return (
    <div class="zone">
      <SelectField label="Time zone" value={zone.value} onValue={(chosen) => setZone(chosen as (typeof ZONES)[number][0])} choices={ZONES} />
    </div>
  );
}

/** The chart library's licence asks for it; the only link that leaves. */
export function Attribution() {
  return (
    <span>
      Charts:{" "}
      <a href="https://www.tradingview.com/" rel="noopener noreferrer" target="_blank">
        TradingView Lightweight Charts™
      </a>
    </span>
  );
}
