// What the page asks the command that serves it, and the key that it may want.

import { Refused, TabKey, refusalText, routeUrl, send, sentence } from "../client.js";

const UNREACHABLE = "Nothing answers any more. Is spanmill view still running?";

export class Api {
  #key = new TabKey("spanmill-view-key");

  get hasKey() {
    return Boolean(this.#key.value);
  }

  /** Keeps a key for this tab; an empty one forgets it. */
  set key(key) {
    this.#key.value = key;
  }

  /**
   * The JSON of a route.
   * @param {string} path below /api/
   * @param {URLSearchParams|Object} parameters
   * @param {AbortSignal|undefined} signal breaks the request off, and the query with it
   */
  async get(path, parameters = {}, signal = undefined) {
    const url = routeUrl(`api/${path}`);
    url.search = new URLSearchParams(parameters);
    const { response, text } = await send(url, this.#key, { signal }, UNREACHABLE);
    if (!response.ok) throw new Refused(sentence(refusalText(text) ?? `The server said ${response.status}`), response.status);
    return JSON.parse(text);
  }
}

/**
 * Asks again and again, and shows nothing but what was asked for last: what was asked before is broken off.
 * @param {function(Error): void} onrefused
 * @param {AbortSignal|null} left breaks off also what was asked last, as when the view that asks is left
 * @returns {function(function(AbortSignal): Promise<void>): Promise<void>}
 */
export function lastOnly(onrefused, left = null) {
  let running = null;
  left?.addEventListener("abort", () => running?.abort(), { once: true });
  return async (ask) => {
    running?.abort();
    const mine = (running = new AbortController());
    try {
      await ask(mine.signal);
    } catch (error) {
      if (error.name !== "AbortError" && running === mine) onrefused(error);
    }
  };
}
