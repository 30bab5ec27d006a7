// The service behind this page, asked as any client asks it; what it refuses becomes a sentence.

const KEY = "spanmill-key";
const BUSY = [429, 503];

/** What the service, or the way to it, said instead of an answer. The message is a sentence for people. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export class Service {
  #key = stored();

  /** The URL of a route, without what stands in the address bar behind the page. */
  url(path) {
    return new URL(path, new URL(".", document.baseURI)).href;
  }

  get key() {
    return this.#key;
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

  /** The model that answers: its name, whether it has a QA head, its layers, and the columns that requests may ask for. */
  async model() {
    const { name, answers, columns, layers } = await this.#ask("model");
    return { name, answers, columns, layers };
  }

  /** Posts JSON, and gives the JSON that comes back. */
  post(path, body) {
    return this.#ask(path, { method: "POST", body: JSON.stringify(body) });
  }

  async #ask(path, options = {}) {
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    if (this.#key) headers.Authorization = `Bearer ${this.#key}`;
    let response, text;
    try {
      response = await fetch(this.url(path), { ...options, headers });
      text = await response.text();
    } catch (error) {
      // Names of headers and keys are Latin-1; anything else fails before it is sent.
      const unsendable = this.#key && /[^\x20-\xff]/.test(this.#key);
      throw new Refused(
        unsendable ? "The API key holds characters that no request can carry." : `Nothing answers at ${this.url("")}; is the service still running?`,
        unsendable ? 401 : 0,
      );
    }
    if (!response.ok) throw refusal(response, text);
    return JSON.parse(text);
  }
}

function stored() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function refusal(response, text) {
  const said = message(text);
  if (response.status === 401) {
    const unknown = said?.includes("not known");
    return new Refused(unknown ? "The service does not know this API key." : "This service wants an API key.", 401);
  }
  if (said === null) return new Refused(`The service, or what stands before it, said ${response.status}.`, response.status);
  if (!BUSY.includes(response.status)) return new Refused(sentence(said), response.status);
  const seconds = response.headers.get("Retry-After");
  const why = sentence(said.replace(/; try again later$/, ""));
  const when = seconds ? `in ${seconds} ${seconds === "1" ? "second" : "seconds"}` : "later";
  return new Refused(`The service is busy. ${why} Try again ${when}.`, response.status);
}

/** The words of a refusal, whichever protocol's form it has; null where it is none of ours. */
function message(text) {
  try {
    const { error } = JSON.parse(text);
    return typeof error === "string" ? error : (error?.message ?? null);
  } catch {
    return null;
  }
}

function sentence(text) {
  // What begins with the name of a field begins as that does.
  const begun = /^[\w.]+:/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
