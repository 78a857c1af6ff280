// The page at the API.
import { render } from "preact";
import { App } from "./app";
import { defineHook, pageStarted } from "./core/hook";
import { httpSource } from "./core/http_source";
import { followServer } from "./core/live";
import { followAddress, go, place } from "./core/router";
import { SourceOfPage } from "./parts/source_of_page";

followAddress("path");
if (place.peek().path === "/") go("/runs", true);
defineHook(false);
render(
  <SourceOfPage.Provider value={httpSource}>
    <App />
  </SourceOfPage.Provider>,
  document.getElementById("page") as HTMLElement,
);
followServer();
pageStarted();
