// The form above the rows: a search, scores, answered or not, and conditions on any column.

import { element, field, select } from "../dom.js";
import { lastOnly } from "./api.js";
import { afterTyping } from "./typing.js";

const HOWS = {
  is: "is",
  is_not: "is not",
  contains: "contains",
  at_least: "is at least",
  at_most: "is at most",
  is_null: "is empty",
  is_not_null: "is not empty",
};
const OF_KINDS = {
  text: ["contains", "is", "is_not", "is_null", "is_not_null"],
  number: ["is", "is_not", "at_least", "at_most", "is_null", "is_not_null"],
  time: ["at_least", "at_most", "is", "is_null", "is_not_null"],
  boolean: ["is", "is_null", "is_not_null"],
  nested: ["contains", "is_null", "is_not_null"],
  bytes: ["is_null", "is_not_null"],
};
let made = 0;

export class Filters {
  #app;
  #output = null;
  #asking;
  #typing;
  #search = element("input", { id: "search", type: "search", autocomplete: "off", spellcheck: false });
  #answered = select({ id: "answered" }, [["", "all rows"], ["true", "answered"], ["false", "no answer"]]);
  #least = element("input", { id: "least", type: "number", step: "any" });
  #most = element("input", { id: "most", type: "number", step: "any" });
  #conditions = element("div", { className: "conditions" });
  #ofAnswers = [field("Answer", this.#answered), field("Score from", this.#least), field("to", this.#most)];
  #clear = element("button", { type: "button", className: "quiet", onclick: () => this.#reset() }, "Clear all");

  constructor(app) {
    this.#app = app;
    this.#asking = lastOnly(() => {}, app.left);
    this.#typing = afterTyping(() => this.#change(), app.left);
    const add = element("button", { type: "button", className: "quiet", onclick: () => this.#add() }, "Add a condition");
    this.element = element(
      "form",
      { className: "card filters", role: "search", "aria-label": "Rows that are shown", onsubmit: (event) => this.#submit(event) },
      element("div", { className: "options" }, field("Search", this.#search), ...this.#ofAnswers, element("div", { className: "row buttons" }, add, this.#clear)),
      this.#conditions,
    );
    this.element.addEventListener("input", this.#typing.soon);
  }

  /** Shows what the address says, unless somebody is typing it. */
  show(output, params) {
    this.#output = output;
    for (const one of this.#ofAnswers) one.hidden = output.kind !== "answer" || !output.columns.some(({ name }) => name === "score");
    for (const [input, name] of [[this.#search, "q"], [this.#answered, "answered"], [this.#least, "least"], [this.#most, "most"]]) {
      if (document.activeElement !== input) input.value = params.get(name) ?? "";
    }
    if (!this.#conditions.contains(document.activeElement)) {
      this.#conditions.replaceChildren(...params.getAll("where").map(parsed).filter(Boolean).map((one) => this.#condition(...one)));
    }
    this.#clear.hidden = !["q", "answered", "least", "most", "where"].some((name) => params.has(name));
  }

  #submit(event) {
    event.preventDefault();
    this.#typing.now();
  }

  #change() {
    const where = [...this.#conditions.children].map((one) => one.read()).filter(Boolean);
    const number = (input) => (Number.isFinite(input.valueAsNumber) ? input.value : "");
    this.#app.change(
      { q: this.#search.value, answered: this.#answered.value, least: number(this.#least), most: number(this.#most), where, offset: "" },
      true,
    );
  }

  #reset() {
    this.#conditions.replaceChildren();
    this.#app.change({ q: "", answered: "", least: "", most: "", where: [], offset: "" });
    this.#search.focus();
  }

  #add() {
    const made = this.#condition(this.#output.columns[0].name, "", "");
    this.#conditions.append(made);
    made.querySelector("select").focus();
  }

  /** One condition: a column, how, and a value, of which the frequent ones are offered. */
  #condition(name, how, value) {
    const id = `condition-${(made += 1)}`;
    const columns = select({ id: `${id}-column` }, this.#output.columns.map((column) => [column.name, column.name]), name);
    const hows = select({ id: `${id}-how` }, []);
    const offered = element("datalist", { id: `${id}-values` });
    const input = element("input", { id: `${id}-value`, type: "text", value, autocomplete: "off" });
    input.setAttribute("list", offered.id);
    const kindOf = () => this.#output.columns.find((column) => column.name === columns.value)?.kind ?? "text";
    const fit = (chosen) => {
      const known = OF_KINDS[kindOf()];
      hows.replaceChildren(...known.map((one) => element("option", { value: one }, HOWS[one])));
      hows.value = known.includes(chosen) ? chosen : known[0];
      input.parentElement.hidden = ["is_null", "is_not_null"].includes(hows.value);
    };
    // What is offered is a help; the value can be typed without it.
    let offeredOf = null;
    const offer = () =>
      this.#asking(async (signal) => {
        const column = columns.value;
        if (column === offeredOf) return;
        const { values } = await this.#app.api.get("values", { output: this.#output.number, column }, signal);
        offeredOf = column;
        offered.replaceChildren(...values.filter(([one]) => one !== null).map(([one, count]) => element("option", { value: String(one) }, String(count))));
      });
    const remove = () => {
      whole.remove();
      this.#typing.now();
    };
    const whole = element(
      "fieldset",
      { className: "condition row" },
      element("legend", { className: "hidden" }, "Condition"),
      labelled("Column", columns),
      labelled("How", hows),
      labelled("Value", input),
      offered,
      element("button", { type: "button", className: "quiet small", onclick: remove }, "Remove"),
    );
    columns.addEventListener("change", () => {
      fit(hows.value);
      offer();
    });
    hows.addEventListener("change", () => fit(hows.value));
    input.addEventListener("focus", offer);
    whole.read = () => {
      const alone = ["is_null", "is_not_null"].includes(hows.value);
      if (!alone && !input.value) return null;
      return JSON.stringify(alone ? [columns.value, hows.value] : [columns.value, hows.value, input.value]);
    };
    fit(how);
    return whole;
  }
}

function labelled(label, input) {
  return element("div", { className: "field" }, element("label", { for: input.id, className: "hidden" }, label), input);
}

function parsed(text) {
  try {
    const [column, how, value = ""] = JSON.parse(text);
    return [column, how, value];
  } catch {
    return null;
  }
}
