// The field that searches the rows of a view.

import { element, field } from "../dom.js";
import { afterTyping } from "./typing.js";

export class SearchField {
  #input = element("input", { id: "search", type: "search", autocomplete: "off", spellcheck: false });

  /** Changes the parameter `q` of the address a moment after it was typed. */
  constructor(app, label) {
    const { soon } = afterTyping(() => app.change({ q: this.#input.value, offset: "" }, true), app.left);
    this.#input.addEventListener("input", soon);
    this.element = field(label, this.#input);
  }

  /** Shows what the address says, unless somebody is typing it. */
  show(params) {
    if (document.activeElement !== this.#input) this.#input.value = params.get("q") ?? "";
  }
}
