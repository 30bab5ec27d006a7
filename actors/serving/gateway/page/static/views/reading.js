// What the service says of one question on one passage, asked for once and kept.

import { extent } from "../parts/windows.js";

const ROUTE = "answer";
const TOP = 8;

export class Reading {
  #service;
  #passage;
  #question;
  #kept;
  #replies = new Map();

  /** Takes the parameters of the form; how many answers it wanted does not matter here. */
  constructor(service, passage, question, parameters) {
    const { top_k: _, ...kept } = parameters;
    this.#service = service;
    this.#passage = passage;
    this.#question = question;
    this.#kept = kept;
  }

  get forWindows() {
    return this.#body({ probabilities: true });
  }

  get forAttribution() {
    return this.#body({ columns: ["attribution"] });
  }

  forAttention(layers, passage = this.#passage) {
    return this.#body({ columns: ["attention"], attention: { layers, top: TOP } }, passage);
  }

  /** The windows with their probabilities. */
  async windows() {
    const { windows } = await this.#ask("windows", this.forWindows);
    return windows[0];
  }

  /** The tokens that the answer attended to; null where there is no answer. */
  async attribution() {
    const { columns } = await this.#ask("attribution", this.forAttribution);
    return columns[0].attribution;
  }

  /**
   * The attention of one window in some layers.
   *
   * Of a long passage only the window's part is sent, which is one window of the same tokens, and so gives the same
   * numbers for a small part of the work. Where the tokens come out otherwise, the whole passage is asked for.
   */
  async attention(place, layers) {
    const windows = await this.windows();
    const part = windows.length > 1 ? this.#partOf(windows[place]) : null;
    if (part !== null) {
      const { columns } = await this.#ask(`attention ${layers} of ${place}`, this.forAttention(layers, part.text));
      const moved = columns[0].attention.map((window) => shifted(window, part.start));
      if (moved.length === 1 && sameTokens(moved[0], windows[place])) return moved[0];
    }
    const { columns } = await this.#ask(`attention ${layers}`, this.forAttention(layers));
    return columns[0].attention[place];
  }

  /** The text of a window, with the blank before it; null where it begins within a word. */
  #partOf(window) {
    const points = Array.from(this.#passage);
    const { start, end } = extent(window);
    if (start > 0 && !/\s/.test(points[start - 1])) return null;
    const from = Math.max(start - 1, 0);
    return { text: points.slice(from, end).join(""), start: from };
  }

  #body(parameters, passage = this.#passage) {
    return { context: passage, question: this.#question, parameters: { ...this.#kept, ...parameters } };
  }

  #ask(name, body) {
    if (!this.#replies.has(name)) {
      const reply = this.#service.post(ROUTE, body);
      this.#replies.set(name, reply);
      // What was refused is asked again the next time.
      reply.catch(() => this.#replies.delete(name));
    }
    return this.#replies.get(name);
  }
}

function shifted(window, by) {
  const tokens = window.tokens.map((token) =>
    token.part === "passage" ? { ...token, start: token.start + by, end: token.end + by } : token,
  );
  return { ...window, tokens };
}

function sameTokens(one, other) {
  const same = (token, place) => ["text", "part", "start", "end"].every((name) => token[name] === other.tokens[place][name]);
  return one.tokens.length === other.tokens.length && one.tokens.every(same);
}
