// Which source the screens below ask.
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { httpSource } from "../core/http_source";
import type { Source } from "../core/source";

export const SourceOfPage = createContext<Source>(httpSource);

export function useSource(): Source {
  return useContext(SourceOfPage);
}
