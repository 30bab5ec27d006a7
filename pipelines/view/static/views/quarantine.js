// Rows that could not be used, by reason.

import { element } from "../../dom.js";
import { counted } from "../../numbers.js";
import { lastOnly } from "../api.js";
import { chosenOutput, outputLinks } from "../outputs.js";
import { bars } from "../bars.js";
import { SearchField } from "../search.js";
import { StatusLine } from "../status.js";
import { DataTable, Pager, pageOf, sortsList, turnsPages } from "../table.js";
import { found } from "../words.js";

export const quarantine = {
  id: "quarantine",
  title: () => "Quarantine",
  offered: () => true,
  make: (app) => new QuarantineView(app),
};

class QuarantineView {
  #app;
  #params = new URLSearchParams();
  #which = element("div");
  #reasons = element("div");
  #search;
  #status;
  #table;
  #pager;
  #ask;

  constructor(app) {
    this.#app = app;
    this.#search = new SearchField(app, "Search");
    this.#status = new StatusLine(app);
    this.#ask = lastOnly((error) => this.#status.refuse(error), app.left);
    this.#table = new DataTable("Rows in quarantine", sortsList(app));
    this.#pager = new Pager(turnsPages(app));
    this.element = element(
      "div",
      { className: "view" },
      element("div", { className: "heading" }, element("h1", {}, "Quarantine"), this.#which),
      element(
        "div",
        { className: "card filters" },
        this.#reasons,
        this.#search.element,
      ),
      element("div", { className: "above" }, this.#status.element),
      this.#table.element,
      this.#pager.element,
    );
  }

  update(params) {
    this.#params = params;
    const output = chosenOutput(this.#app.job, params);
    const links = outputLinks(this.#app.job, "quarantine", output);
    this.#which.replaceChildren(...(links ? [links] : []));
    this.#search.show(params);
    this.#ask((signal) => this.#fetch(output, signal));
  }

  async #fetch(output, signal) {
    const { api } = this.#app;
    const [offset, limit] = pageOf(this.#params);
    const reason = this.#params.get("reason") ?? "";
    const where = reason ? [["where", JSON.stringify(["reason", "is", reason])]] : [];
    const kept = ["q", "sort", "descending"].filter((name) => this.#params.get(name)).map((name) => [name, this.#params.get(name)]);
    const request = [["output", output.number], ["table", "quarantine"], ...where, ...kept];
    const [{ values }, { rows }, { count }] = await Promise.all([
      api.get("values", { output: output.number, table: "quarantine", column: "reason" }, signal),
      api.get("rows", new URLSearchParams([...request, ["offset", offset], ["limit", limit]]), signal),
      api.get("count", new URLSearchParams(request), signal),
    ]);
    this.#showReasons(values, reason);
    const order = { sort: this.#params.get("sort") ?? "", descending: this.#params.get("descending") === "true" };
    this.#table.show(columns(output, this.#params.get("q") ?? ""), rows, order, counted(count, "row"));
    this.#table.element.hidden = this.#pager.element.hidden = count === 0;
    this.#pager.show(offset, limit, count, rows.length);
    this.#status.say(values.length ? `${counted(count, "row")}${reason ? ` with the reason ${reason}` : ""}.` : "No row is in quarantine: all could be used.");
  }

  #showReasons(values, reason) {
    const choose = (name) => this.#app.change({ reason: name === reason ? "" : name, offset: "" });
    this.#reasons.replaceChildren(...(values.length ? [element("h2", {}, "Reasons"), bars(values, { chosen: reason, onchoose: choose })] : []));
    this.#search.element.hidden = !values.length;
  }
}

function columns(output, searched) {
  return output.quarantine_columns.map(({ name, sortable }, place) => ({
    name,
    label: name === "row" ? "the row, as it came" : name,
    sortable,
    className: `of-${name}`,
    cell: ({ values }) => cell(name, values[place], searched),
  }));
}

function cell(name, value, searched) {
  if (value === null) return [element("span", { className: "absent" }, name === "id" ? "unknown" : "empty")];
  if (name === "row") return [element("div", { className: "raw", tabIndex: 0, role: "group", "aria-label": "The row, as it came" }, ...found(String(value), searched))];
  return [element("bdi", {}, ...found(String(value), searched))];
}
