// A run as one file: the page's run view over the data that stand in it.
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { embeddedSource, readEmbedded } from "./core/embedded_source";
import { defineHook, pageStarted } from "./core/hook";
import { followAddress, go, place } from "./core/router";
import { Link, Time } from "./parts/shown";
import { SourceOfPage, useSource } from "./parts/source_of_page";
import { Attribution, ZoneField } from "./parts/furniture";
import { CompareScreen } from "./screens/compare";
import { RunScreen } from "./screens/run";

const LEFT_OUT: Readonly<Record<string, string>> = { indicators: "the strategy's indicators", volume: "volume", trades: "single trades" };

function Report({ run, others, thinned, leftOut, written }: { run: number; others: number[]; thinned: string; leftOut: readonly string[]; written: string }) {
  const source = useSource();
  const isComparing = place.value.path === "/compare";
  useEffect(() => {
    document.title = `Backtest report: run ${run}`;
  }, [source]);
  return (
    <>
      <header class="top">
        <strong class="brand">Backtest report</strong>
        {others.length > 1 && (
          <nav aria-label="Report">
            <Link to={`/runs/${run}/chart`} current={!isComparing}>{`Run ${run}`}</Link>
            <Link to={`/compare?ids=${others.join(",")}`} current={isComparing}>
              Comparison
            </Link>
          </nav>
        )}
        <ZoneField />
      </header>
      <main>
        {thinned && <p class="note">Candles are {thinned}. Figures and trades are those of the whole run.</p>}
        {leftOut.length > 0 && <p class="note">Left out, so that the file stays small: {leftOut.map((name) => LEFT_OUT[name] ?? name).join(", ")}.</p>}
        {isComparing ? <CompareScreen /> : <RunScreen />}
      </main>
      <footer>
        {written && (
          <span>
            Written <Time at={written} />
          </span>
        )}
        <Attribution />
      </footer>
    </>
  );
}

followAddress("hash");
defineHook(true);
const data = readEmbedded(document.getElementById("backtest-data")?.textContent);
if (place.peek().path === "/") go(`/runs/${data.run.run_id}/chart`, true);
render(
  <SourceOfPage.Provider value={embeddedSource(data)}>
    <Report run={data.run.run_id} others={(data.compare ?? []).map(({ run }) => run.run_id)} thinned={data.thinned ?? ""} leftOut={data.left_out ?? []} written={data.generated_at ?? ""} />
  </SourceOfPage.Provider>,
  document.getElementById("page") as HTMLElement,
);
pageStarted();
