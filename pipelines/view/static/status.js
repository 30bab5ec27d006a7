// The line of a view that says how it goes.

import { element } from "../dom.js";

export class StatusLine {
  #app;

  constructor(app) {
    this.#app = app;
    this.element = element("p", { className: "status", role: "status" });
  }

  say(text) {
    this.element.className = "status";
    this.element.textContent = text;
  }

  /** Says why there is nothing; where a key is wanted, the page asks for one. */
  refuse(error) {
    if (error.status === 401) this.#app.refused(error);
    this.element.className = "status refused";
    this.element.textContent = error.message;
  }
}
