// What pages do that ask the server which they came from: they keep a key, and refusals become sentences.

/** What the server, or the way to it, said instead of an answer. The message is a sentence for people. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** An API key that lasts as long as the tab. */
export class TabKey {
  #name;
  #value = "";

  /** @param {string} name under which the tab keeps it */
  constructor(name) {
    this.#name = name;
    try {
      this.#value = sessionStorage.getItem(name) ?? "";
    } catch {
      // Where the browser keeps nothing, the key lasts as long as the page.
    }
  }

  get value() {
    return this.#value;
  }

  /** Keeps a key; an empty one forgets it. */
  set value(key) {
    this.#value = key;
    try {
      if (key) sessionStorage.setItem(this.#name, key);
      else sessionStorage.removeItem(this.#name);
    } catch {
      // As above.
    }
  }
}

/** The URL of a route, without what stands in the address bar behind the page. */
export function routeUrl(path) {
  return new URL(path, new URL(".", document.baseURI));
}

/**
 * Sends a request.
 * @param {URL} url
 * @param {TabKey} key
 * @param {RequestInit} options those of fetch
 * @param {string} unreachable the sentence for people where nothing answers
 * @returns {Promise<{response: Response, text: string}>} whatever its status is
 * @throws {Refused} nothing answers, or the key cannot be sent
 */
export async function send(url, key, options, unreachable) {
  const headers = { Accept: "application/json", ...options.headers };
  if (key.value) headers.Authorization = `Bearer ${key.value}`;
  try {
    const response = await fetch(url, { ...options, headers });
    return { response, text: await response.text() };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // Headers are Latin-1; anything else fails before it is sent.
    if (/[^\x20-\xff]/.test(key.value)) throw new Refused("The API key holds characters that no request can carry.", 401);
    throw new Refused(unreachable, 0);
  }
}

/** The words of a refusal, whichever protocol's form it has; null where it is none of ours. */
export function refusalText(text) {
  try {
    const { error } = JSON.parse(text);
    return typeof error === "string" ? error : (error?.message ?? null);
  } catch {
    return null;
  }
}

/** Words as a sentence. What begins with the name of a field begins as that does. */
export function sentence(text) {
  const begun = /^[\w.]+:/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
