// What the page asks the command that serves it, and the key that it may want.

const KEY = "spanmill-view-key";

/** What is asked for was refused, or nothing answered; the message is a sentence for people. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export class Api {
  #key = stored();

  get hasKey() {
    return Boolean(this.#key);
  }

  /** Keeps a key for this tab; an empty one forgets it. */
  set key(key) {
    this.#key = key;
    try {
      if (key) sessionStorage.setItem(KEY, key);
      else sessionStorage.removeItem(KEY);
    } catch {
      // Where the browser keeps nothing, the key lasts as long as the page.
    }
  }

  /**
   * The JSON of a route.
   * @param {string} path below /api/
   * @param {URLSearchParams|Object} parameters
   * @param {AbortSignal|undefined} signal breaks the request off, and the query with it
   */
  async get(path, parameters = {}, signal = undefined) {
    const url = new URL(`api/${path}`, new URL(".", document.baseURI));
    url.search = new URLSearchParams(parameters);
    const headers = { Accept: "application/json" };
    if (this.#key) headers.Authorization = `Bearer ${this.#key}`;
    let response, text;
    try {
      response = await fetch(url, { headers, signal });
      text = await response.text();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      const unsendable = /[^\x20-\xff]/.test(this.#key);
      throw unsendable
        ? new Refused("The API key holds characters that no request can carry.", 401)
        : new Refused("Nothing answers any more. Is spanmill view still running?", 0);
    }
    if (!response.ok) throw new Refused(sentence(said(text) ?? `The server said ${response.status}`), response.status);
    return JSON.parse(text);
  }
}

/**
 * Asks again and again, and shows nothing but what was asked for last: what was asked before is broken off.
 * @returns {function(function(AbortSignal): Promise<void>): Promise<void>}
 */
export function lastOnly(onrefused) {
  let running = null;
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

function stored() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function said(text) {
  try {
    return JSON.parse(text).error ?? null;
  } catch {
    return null;
  }
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
