// The service behind this page, asked as any client asks it; what it refuses becomes a sentence.

import { Refused, TabKey, refusalText, routeUrl, send, sentence } from "./client.js";
import { counted } from "./numbers.js";

const BUSY = [429, 503];
const LIMITS_OF_KEY = ["requests_in_hand", "tokens_per_minute"];

export class Service {
  #key = new TabKey("spanmill-key");
  #below = "";

  /** The URL of a route of the model, without what stands in the address bar behind the page. */
  url(path) {
    return routeUrl(this.#below + path).href;
  }

  /** Asks the model of this name from now on; "" is the one that answers where no name is given. */
  choose(name) {
    this.#below = name && `models/${name.split("/").map(encodeURIComponent).join("/")}/`;
  }

  /** The names of all models that can be chosen. */
  async models() {
    const { data } = await this.#ask(routeUrl("v1/models"));
    return data.map((model) => model.id);
  }

  get key() {
    return this.#key.value;
  }

  /** Keeps a key for this tab; an empty one forgets it. */
  set key(key) {
    this.#key.value = key;
  }

  /** The model that answers: its name, whether it has a QA head, its layers, and the columns that requests may ask for. */
  async model() {
    const { name, answers, columns, layers } = await this.#ask(this.url("model"));
    return { name, answers, columns, layers };
  }

  /** Posts JSON, and gives the JSON that comes back. */
  post(path, body) {
    return this.#ask(this.url(path), { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  }

  async #ask(url, options = {}) {
    const unreachable = `Nothing answers at ${routeUrl("").href}; is the service still running?`;
    const { response, text } = await send(url, this.#key, options, unreachable);
    if (!response.ok) throw refusal(response, text);
    return JSON.parse(text);
  }
}

function refusal(response, text) {
  const said = refusalText(text);
  if (response.status === 401) {
    const unknown = said?.includes("not known");
    return new Refused(unknown ? "The service does not know this API key." : "This service wants an API key.", 401);
  }
  if (said === null) return new Refused(`The service, or what stands before it, said ${response.status}.`, response.status);
  // What a key has used up says by itself when to try again, and the service may be idle.
  if (!BUSY.includes(response.status) || LIMITS_OF_KEY.includes(JSON.parse(text).reason)) return new Refused(sentence(said), response.status);
  const seconds = response.headers.get("Retry-After");
  const why = sentence(said.replace(/; try again later$/, ""));
  const when = seconds ? `in ${counted(Number(seconds), "second")}` : "later";
  return new Refused(`The service is busy. ${why} Try again ${when}.`, response.status);
}
