// The page: which screen stands at which address, and what is around it.
import { useEffect, useRef } from "preact/hooks";
import { api, signInWanted } from "./core/http_source";
import { connection, connectionTold } from "./core/live";
import { place } from "./core/router";
import { Attribution, ZoneField } from "./parts/furniture";
import { Link } from "./parts/shown";
import { CompareScreen } from "./screens/compare";
import { NewBacktestScreen } from "./screens/new_backtest";
import { NewOptimizationScreen } from "./screens/new_optimization";
import { OptimizationScreen } from "./screens/optimization";
import { OptimizationsScreen } from "./screens/optimizations";
import { RunScreen } from "./screens/run";
import { RunsScreen } from "./screens/runs";
import { SignInScreen, isSignedIn, signedOut } from "./screens/sign_in";
import { StrategiesScreen } from "./screens/strategies";
import { StrategyScreen } from "./screens/strategy";

const LINKS = [
  ["/new", "New backtest"],
  ["/runs", "Runs"],
  ["/optimizations", "Optimisations"],
  ["/strategies", "Strategies"],
] as const;

export function App() {
  const { path } = place.value;
  return (
    <>
      <header class="top">
        <strong class="brand">Backtest</strong>
        <nav aria-label="Main">
          {LINKS.map(([to, text]) => (
            <Link key={to} to={to} current={path === to || path.startsWith(`${to}/`)}>
              {text}
            </Link>
          ))}
        </nav>
        <ZoneField />
        {isSignedIn.value && !signInWanted.value && (
          <button type="button" class="quiet" onClick={() => void api.remove("/session").then(signedOut, signedOut)}>
            Sign out
          </button>
        )}
      </header>
      <ConnectionStatus />
      <main>{signInWanted.value ? <SignInScreen /> : <Screen path={path} />}</main>
      <footer>
        <Attribution />
      </footer>
    </>
  );
}

function ConnectionStatus() {
  const isLost = connectionTold.value && connection.value === "lost" && !signInWanted.value;
  return (
    <div aria-live="polite">
      {isLost && (
        <p class="lost" role="status">
          Connection lost, trying again. What is shown may be old; it goes on by itself.
        </p>
      )}
    </div>
  );
}

function Screen({ path }: { path: string }) {
  const [, first = "", second = ""] = path.split("/");
  const screen = useRef<HTMLDivElement>(null);
  const isFirst = useRef(true);
  const where = `${first}/${second}`;
  useEffect(() => {
    document.title = titleOf(first, second);
    // Who comes by a link is read the new screen's heading.
    if (!isFirst.current) screen.current?.querySelector<HTMLElement>("h1")?.focus();
    isFirst.current = false;
  }, [where]);
  return (
    <div ref={screen} key={where}>
      {screenOf(first, second)}
    </div>
  );
}

function screenOf(first: string, second: string) {
  switch (first) {
    case "new":
      return <NewBacktestScreen />;
    case "":
    case "runs":
      return second ? <RunScreen /> : <RunsScreen />;
    case "compare":
      return <CompareScreen />;
    case "optimizations":
      return second === "new" ? <NewOptimizationScreen /> : second ? <OptimizationScreen id={Number(second)} /> : <OptimizationsScreen />;
    case "strategies":
      return second ? <StrategyScreen id={second === "new" ? null : Number(second)} key={second} /> : <StrategiesScreen />;
    default:
      return <h1 tabIndex={-1}>There is nothing at this address</h1>;
  }
}

function titleOf(first: string, second: string): string {
  const names: Record<string, string> = { new: "New backtest", runs: "Runs", compare: "Compare", optimizations: "Optimisations", strategies: "Strategies" };
  const singles: Record<string, string> = { runs: "Run", optimizations: "Optimisation", strategies: "Strategy" };
  const name = second && singles[first] ? (second === "new" ? `New ${singles[first].toLowerCase()}` : `${singles[first]} ${second}`) : names[first];
  return name ? `${name} – Backtest` : "Backtest";
}
