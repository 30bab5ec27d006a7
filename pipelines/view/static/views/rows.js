// The rows of an output: found, filtered, sorted, page by page.

import { element } from "../../dom.js";
import { counted, number } from "../../numbers.js";
import { lastOnly } from "../api.js";
import { Filters } from "../filters.js";
import { chosenOutput, outputLinks, rowAddress, tableColumns, usualColumns } from "../outputs.js";
import { StatusLine } from "../status.js";
import { DataTable, Pager, pageOf, sortsList, turnsPages } from "../table.js";

/** Parameters of the address that say which rows are wanted. */
export const ASKED = ["output", "q", "where", "answered", "least", "most", "sort", "descending"];

export const rows = {
  id: "rows",
  title: () => "Rows",
  offered: () => true,
  make: (app) => new RowsView(app),
};

/** The parameters of a request for rows. */
export function asked(params) {
  const made = new URLSearchParams();
  for (const name of ASKED) for (const value of params.getAll(name)) made.append(name, value);
  return made;
}

class RowsView {
  #app;
  #params = new URLSearchParams();
  #output = null;
  #filters;
  #which = element("div");
  #heading = element("h1");
  #status;
  #table;
  #pager;
  #columns = element("details", { className: "columns-shown" });
  #ask;

  constructor(app) {
    this.#app = app;
    this.#filters = new Filters(app);
    this.#status = new StatusLine(app);
    this.#table = new DataTable(
      "Rows",
      sortsList(app),
      (row) => rowAddress(this.#output, this.#params, row.place, row.key),
    );
    this.#pager = new Pager(turnsPages(app));
    this.#ask = lastOnly((error) => {
      this.#table.busy = false;
      this.#status.refuse(error);
    }, app.left);
    this.element = element(
      "div",
      { className: "view" },
      element("div", { className: "heading" }, this.#heading, this.#which),
      this.#filters.element,
      element("div", { className: "above" }, this.#status.element, this.#columns),
      this.#table.element,
      this.#pager.element,
    );
  }

  update(params) {
    this.#params = params;
    this.#output = chosenOutput(this.#app.job, params);
    this.#heading.textContent = "Rows";
    const links = outputLinks(this.#app.job, "rows", this.#output);
    this.#which.replaceChildren(...(links ? [links] : []));
    this.#filters.show(this.#output, params);
    this.#showColumns();
    this.#ask((signal) => this.#fetch(signal));
  }

  async #fetch(signal) {
    const { api } = this.#app;
    const [offset, limit] = pageOf(this.#params);
    const request = asked(this.#params);
    this.#table.busy = true;
    // The count looks at every row, so the page does not wait for it.
    const counting = api.get("count", request, signal);
    counting.catch(() => {});
    const { rows: found } = await api.get("rows", new URLSearchParams([...request, ["offset", offset], ["limit", limit]]), signal);
    this.#show(found, offset, limit, null);
    const { count } = await counting;
    this.#show(found, offset, limit, count, true);
  }

  #show(found, offset, limit, count, isSame = false) {
    this.#table.busy = false;
    const order = { sort: this.#params.get("sort") ?? "", descending: this.#params.get("descending") === "true" };
    const which = count === null ? "" : ` of ${number(count)} that fit`;
    const range = found.length ? `Rows ${number(offset + 1)} to ${number(offset + found.length)}${which}` : "No rows";
    if (!isSame) {
      const names = this.#names();
      const shown = found.map((row, index) => ({ ...row, place: offset + index }));
      this.#table.show(tableColumns(this.#output, names, this.#params.get("q") ?? ""), shown, order, range);
    }
    this.#pager.show(offset, limit, count, found.length);
    this.#status.say(count === null ? "Counting …" : this.#sentence(count));
  }

  #sentence(count) {
    const isAll = ![...asked(this.#params).keys()].some((name) => !["output", "sort", "descending"].includes(name));
    if (!this.#output.columns.length) return "Nothing is committed yet.";
    if (isAll) return counted(count, "row");
    return count ? `${counted(count, "row")} ${count === 1 ? "fits" : "fit"}.` : "No row fits. Take a condition away, or search for less.";
  }

  #names() {
    return this.#params.has("columns") ? this.#params.getAll("columns") : usualColumns(this.#output);
  }

  #showColumns() {
    if (this.#columns.contains(document.activeElement)) return;
    const names = this.#names();
    const boxes = this.#output.columns.map(({ name }, place) => {
      const box = element("input", { type: "checkbox", checked: names.includes(name), disabled: place === 0, value: name });
      return element("label", { className: "check" }, box, element("bdi", {}, name));
    });
    const change = () => {
      const chosen = [...this.#columns.querySelectorAll("input:checked")].map(({ value }) => value);
      const usual = usualColumns(this.#output);
      const isUsual = chosen.length === usual.length && chosen.every((name) => usual.includes(name));
      this.#app.change({ columns: isUsual ? [] : chosen }, true);
    };
    const isOpen = this.#columns.open;
    this.#columns.replaceChildren(element("summary", {}, "Columns"), element("div", { className: "options", onchange: change }, ...boxes));
    this.#columns.open = isOpen;
  }
}
