// Rows that could not be used, by reason.

import { element } from "../../dom.js";
import { lastOnly } from "../api.js";
import { chosenOutput, outputLinks } from "../outputs.js";
import { bars } from "../bars.js";
import { DataTable, Pager } from "../table.js";
import { counted, found } from "../words.js";

const LIMIT = 50;
const WAIT_MS = 300;

export const quarantine = {
  id: "quarantine",
  title: () => "Quarantine",
  offered: () => true,
  make: (app) => new QuarantineView(app),
};

class QuarantineView {
  #app;
  #params = new URLSearchParams();
  #timer = 0;
  #which = element("div");
  #reasons = element("div");
  #search = element("input", { id: "search", type: "search", autocomplete: "off", spellcheck: false });
  #status = element("p", { className: "status", role: "status" });
  #table;
  #pager;
  #ask = lastOnly((error) => this.#refused(error));

  constructor(app) {
    this.#app = app;
    this.#table = new DataTable("Rows in quarantine", (sort, descending) => app.change({ sort, descending: descending || "", offset: "" }));
    this.#pager = new Pager(({ offset, limit }) => app.change({ offset: offset || "", limit: limit === LIMIT ? "" : limit }));
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => app.change({ q: this.#search.value, offset: "" }, true), WAIT_MS);
    });
    this.element = element(
      "div",
      { className: "view" },
      element("div", { className: "heading" }, element("h1", {}, "Quarantine"), this.#which),
      element(
        "div",
        { className: "card filters" },
        this.#reasons,
        element("div", { className: "field" }, element("label", { for: "search" }, "Search"), this.#search),
      ),
      element("div", { className: "above" }, this.#status),
      this.#table.element,
      this.#pager.element,
    );
  }

  update(params) {
    this.#params = params;
    const output = chosenOutput(this.#app.job, params);
    const links = outputLinks(this.#app.job, "quarantine", output);
    this.#which.replaceChildren(...(links ? [links] : []));
    if (document.activeElement !== this.#search) this.#search.value = params.get("q") ?? "";
    this.#ask((signal) => this.#fetch(output, signal));
  }

  async #fetch(output, signal) {
    const { api } = this.#app;
    const [offset, limit] = [Number(this.#params.get("offset") ?? 0), Number(this.#params.get("limit") ?? LIMIT)];
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
    this.#status.className = "status";
    this.#status.textContent = values.length ? `${counted(count, "row")}${reason ? ` with the reason ${reason}` : ""}.` : "No row is in quarantine: all could be used.";
  }

  #showReasons(values, reason) {
    const choose = (name) => this.#app.change({ reason: name === reason ? "" : name, offset: "" });
    this.#reasons.replaceChildren(...(values.length ? [element("h2", {}, "Reasons"), bars(values, { chosen: reason, onchoose: choose })] : []));
    this.#search.parentElement.hidden = !values.length;
  }

  #refused(error) {
    if (error.status === 401) this.#app.refused(error);
    this.#status.className = "status refused";
    this.#status.textContent = error.message;
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
