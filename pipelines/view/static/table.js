// A table of one page of rows, whose headers sort, and the buttons that turn the pages.

import { element, select } from "../dom.js";
import { number } from "../numbers.js";

const SIZES = [25, 50, 100, 250];

/**
 * @typedef {Object} Column
 * @property {string} name by which the server sorts
 * @property {string|Node} label
 * @property {boolean} sortable
 * @property {boolean} numeric whether high values are asked for first
 * @property {string} className of its cells
 * @property {function(*): Array<Node|string>} cell what a row has there
 */

export class DataTable {
  #caption = element("caption", { className: "hidden" });
  #head = element("tr");
  #body = element("tbody");
  #onsort;
  #onopen;

  /**
   * @param {string} label of the region in which the table scrolls
   * @param {function(string, boolean): void} onsort is told the column's name, and whether high values come first
   * @param {function(*): string|null} onopen gives the address of a row; null where rows are not opened
   */
  constructor(label, onsort, onopen = () => null) {
    this.#onsort = onsort;
    this.#onopen = onopen;
    this.table = element("table", { className: "rows" }, this.#caption, element("thead", {}, this.#head), this.#body);
    this.element = element("div", { className: "scrolling wide", tabIndex: 0, role: "region", "aria-label": label }, this.table);
  }

  /**
   * Shows a page.
   * @param {Column[]} columns the first of which names the row
   * @param {Array} rows
   * @param {{sort: string, descending: boolean}} order
   * @param {string} caption for screen readers
   */
  show(columns, rows, order, caption) {
    this.#caption.textContent = caption;
    // A header that is pressed keeps the focus.
    const focused = this.#head.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    this.#head.replaceChildren(...columns.map((column) => this.#header(column, order)));
    this.#body.replaceChildren(...rows.map((row) => this.#row(columns, row)));
    if (focused !== null) [...this.#head.querySelectorAll("button")].find(({ dataset }) => dataset.name === focused)?.focus();
  }

  set busy(busy) {
    this.table.setAttribute("aria-busy", String(busy));
  }

  #header({ name, label, sortable, numeric, className }, { sort, descending }) {
    if (!sortable) return element("th", { scope: "col", className }, label);
    const isSorted = sort === name;
    const first = Boolean(numeric);
    const press = () => {
      // Third press: back to the order of the corpus.
      if (isSorted && descending !== first) this.#onsort("", false);
      else this.#onsort(name, isSorted ? !descending : first);
    };
    const arrow = isSorted ? (descending ? "▼" : "▲") : "↕";
    const sign = element("span", { className: "arrow", "aria-hidden": "true" }, arrow);
    const button = element("button", { type: "button", className: "sort", "data-name": name, onclick: press }, label, sign);
    return element("th", { scope: "col", className, "aria-sort": isSorted ? (descending ? "descending" : "ascending") : "none" }, button);
  }

  #row(columns, row) {
    const address = this.#onopen(row);
    const cells = columns.map((column, place) => {
      const content = column.cell(row);
      if (place) return element("td", { className: column.className ?? "", dir: "auto" }, ...content);
      const named = address ? [element("a", { href: address }, ...content)] : content;
      return element("th", { scope: "row", className: column.className ?? "" }, ...named);
    });
    const made = element("tr", {}, ...cells);
    if (address) {
      made.className = "opens";
      made.addEventListener("click", (event) => {
        // Whoever marks a text wants it, and not the row.
        if (!event.target.closest("a, button, details") && getSelection().isCollapsed) location.hash = address;
      });
    }
    return made;
  }
}

const LIMIT = 50;

/** Offset and limit of the page that the address of a list names. */
export const pageOf = (params) => [Number(params.get("offset") ?? 0), Number(params.get("limit") ?? LIMIT)];

/** Has the address of a list say by which column it is sorted; it begins at its first page again. */
export const sortsList = (app) => (sort, descending) => app.change({ sort, descending: descending || "", offset: "" });

/** Has the address of a list say which page of it is shown. */
export const turnsPages = (app) => ({ offset, limit }) => app.change({ offset: offset || "", limit: limit === LIMIT ? "" : limit });

export class Pager {
  #onturn;
  #shown = element("span", { className: "range" });
  #buttons;
  #size;

  /** @param {function({offset: number, limit: number}): void} onturn */
  constructor(onturn) {
    this.#onturn = onturn;
    const button = (name, sign, to) =>
      element("button", { type: "button", className: "quiet small", "aria-label": name, title: name, onclick: () => this.#turn(to()) }, sign);
    this.#buttons = [
      button("First page", "«", () => 0),
      button("Page before", "‹", () => this.offset - this.limit),
      button("Next page", "›", () => this.offset + this.limit),
      button("Last page", "»", () => Math.floor(Math.max(this.count - 1, 0) / this.limit) * this.limit),
    ];
    const resize = () => this.#onturn({ offset: 0, limit: Number(this.#size.value) });
    this.#size = select({ id: "page-size", onchange: resize }, SIZES.map((size) => [size, size]));
    const [first, before, next, last] = this.#buttons;
    this.element = element(
      "nav",
      { className: "pager row", "aria-label": "Pages" },
      first, before, this.#shown, next, last,
      element("label", { for: "page-size", className: "size" }, "Rows a page"),
      this.#size,
    );
  }

  /** @param {number|null} count of all rows that were found; null where it is not known yet */
  show(offset, limit, count, rows) {
    Object.assign(this, { offset, limit, count: count ?? offset + rows });
    this.#shown.textContent = rows ? `${number(offset + 1)}–${number(offset + rows)}` : "none";
    const [first, before, next, last] = this.#buttons;
    first.disabled = before.disabled = offset === 0;
    next.disabled = rows < limit || offset + rows >= (count ?? Infinity);
    last.disabled = next.disabled || count === null;
    this.#size.value = String(limit);
  }

  #turn(offset) {
    this.#onturn({ offset: Math.max(offset, 0), limit: this.limit });
  }
}
