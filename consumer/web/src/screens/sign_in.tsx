// Who is there? A token, which the server turns into a cookie that scripts cannot read.
import { signal } from "@preact/signals";
import { useRef, useState } from "preact/hooks";
import { api, signInWanted } from "../core/http_source";
import { signedIn } from "../core/live";
import { ApiError } from "../core/source";
import { TextField, focusFirstFault } from "../parts/fields";

const KEPT = "backtest-signed-in";

/** Whether this browser signed in here: the cookie itself is not the page's to read. */
export const isSignedIn = signal(remembered());

export function SignInScreen() {
  const [token, setToken] = useState("");
  const [wrong, setWrong] = useState("");
  const form = useRef<HTMLFormElement>(null);
  const send = async (event: Event) => {
    event.preventDefault();
    try {
      await api.post("/session", { token });
      remember(true);
      signedIn();
    } catch (error) {
      setWrong(error instanceof ApiError && error.status === 401 ? "No such token." : (error as Error).message);
      focusFirstFault(form.current);
    }
  };
  return (
    <form class="card narrow" aria-label="Sign in" ref={form} onSubmit={(event) => void send(event)}>
      <h1>Sign in</h1>
      <TextField label="Token" type="password" value={token} onValue={setToken} error={wrong} hint="From whoever runs this server." />
      <button type="submit" class="primary">
        Sign in
      </button>
    </form>
  );
}

export function signedOut(): void {
  remember(false);
  signInWanted.value = true;
}

function remembered(): boolean {
  try {
    return localStorage.getItem(KEPT) === "yes";
  } catch {
    return false;
  }
}

function remember(isIn: boolean): void {
  isSignedIn.value = isIn;
  try {
    if (isIn) localStorage.setItem(KEPT, "yes");
    else localStorage.removeItem(KEPT);
  } catch {
    // Without storage the button is there until the page is loaded anew.
  }
}
