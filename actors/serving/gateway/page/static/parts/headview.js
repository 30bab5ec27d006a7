// Two columns of tokens, and the lines between them.

import { drawn, element } from "../dom.js";
import { focusOption, roving } from "./roving.js";
import { rounded, shownToken } from "./tokens.js";
import { hueOf, meansBy } from "./weights.js";

const STEPS_OF_OPACITY = 8;
const WIDTH = 100;
const MOST_NAMED = 8;
const FARTHEST = 3;
const MANY = 200;
const DIMMED = 0.7;
const FAINTEST = 0.6;

/**
 * The tokens that attend, on the left, those that they attend to on the right, and a line for each weight.
 * @param {{tokens: Array, from: number[], everyTarget: boolean, links: Array, linksAt: function(string, number): Array,
 *     heads: number, chosen: number}} shown `from` are places of tokens, `everyTarget` keeps also those on the right that nothing
 *     attends to, `links` are drawn, `linksAt` gives those of the token at a place of the side "from" or "to" however light they
 *     are, `chosen` is the number of heads whose links these are
 * @returns {HTMLElement}
 */
export function headView(shown) {
  return new HeadView(shown).element;
}

class HeadView {
  #tokens;
  #links;
  #linksAt;
  #heads;
  #chosen;
  #left;
  #right;
  #base = drawn("g");
  #picked = drawn("g");
  #readout = element("p", { className: "readout", role: "status" });

  constructor({ tokens, from, everyTarget = false, links, linksAt, heads, chosen }) {
    this.#tokens = tokens;
    this.#links = links;
    this.#linksAt = linksAt;
    this.#heads = heads;
    this.#chosen = chosen;
    const targets = everyTarget ? from : [...new Set(links.map(({ to }) => to))].sort((a, b) => a - b);
    const [left, right] = [grouped(tokens, from), grouped(tokens, targets)];
    const rows = Math.max(left.length, right.length, 1);
    this.#left = new Column("Attention from", tokens, left, rows);
    this.#right = new Column("Attention to", tokens, right, rows);
    this.element = this.#whole(rows);
    this.#drawAll();
    this.#say(null);
    this.#listen();
  }

  #whole(rows) {
    const lines = drawn(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${rows}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "lines" },
      this.#base,
      this.#picked,
    );
    const heading = (text) => element("p", { className: "side", "aria-hidden": "true" }, text);
    const whole = element(
      "div",
      { className: "head-view" },
      heading("From"),
      element("span"),
      heading("To"),
      this.#left.list,
      lines,
      this.#right.list,
    );
    whole.style.setProperty("--rows", rows);
    return element("div", {}, this.#readout, element("div", { className: "head-view-box" }, whole));
  }

  #path({ from, to }) {
    const [y1, y2] = [this.#left.middle(from), this.#right.middle(to)];
    return `M0 ${y1}C${WIDTH / 2} ${y1} ${WIDTH / 2} ${y2} ${WIDTH} ${y2}`;
  }

  /** All lines: those of one head with about one weight are one element, since there may be tens of thousands. */
  #drawAll() {
    const groups = new Map();
    for (const link of this.#links) {
      const step = Math.max(Math.ceil(link.weight * STEPS_OF_OPACITY), 1);
      const name = `${link.head} ${step}`;
      if (!groups.has(name)) groups.set(name, { head: link.head, weight: step / STEPS_OF_OPACITY, paths: [] });
      groups.get(name).paths.push(this.#path(link));
    }
    const lines = [...groups.values()].sort((a, b) => a.weight - b.weight);
    const dimmed = this.#links.length > MANY ? DIMMED : 1;
    this.#base.replaceChildren(...lines.map(({ head, weight, paths }) => this.#line(paths.join(""), head, weight, dimmed)));
  }

  /** The heavier, the wider and the more opaque; the lightest can still be told from the ground. */
  #line(path, head, weight, dimmed = 1) {
    const opacity = dimmed * (FAINTEST + (1 - FAINTEST) * Math.min(weight, 1));
    const line = drawn("path", { d: path, "stroke-opacity": opacity.toFixed(3) });
    line.style.setProperty("--hue", hueOf(head, this.#heads));
    line.style.setProperty("--weight", weight.toFixed(3));
    return line;
  }

  /** Has one token's lines alone stand out, with their numbers at the other ends; null shows all again. */
  #pick(picked) {
    const own = picked ? this.#links.filter((link) => link[picked.side] === picked.place) : [];
    const [here, there] = picked?.side === "to" ? [this.#right, this.#left] : [this.#left, this.#right];
    const all = picked ? this.#linksAt(picked.side, picked.place) : [];
    const means = meansBy(picked?.side === "from" ? "to" : "from", all, this.#chosen);
    here.weigh([]);
    there.weigh(means);
    here.point(picked ? picked.place : null);
    there.point(null);
    this.element.classList.toggle("picked", Boolean(picked));
    this.#picked.replaceChildren(...own.map((link) => this.#line(this.#path(link), link.head, link.weight)));
    this.#say(picked, means);
  }

  #say(picked, means = []) {
    if (!picked) {
      const nothing = this.#chosen ? "No weight is as large as that. Lower the bound." : "Choose a head.";
      const hint = "Point at a token, or move with the arrow keys, to see its weights alone.";
      this.#readout.replaceChildren(this.#links.length ? hint : nothing);
      return;
    }
    const named = means.slice(0, MOST_NAMED).flatMap(({ place, weight }, rank) => [rank ? " · " : "", this.#name(place), ` ${rounded(weight)}`]);
    const over = this.#chosen > 1 ? ` (mean of ${this.#chosen} heads)` : "";
    const does = picked.side === "from" ? " attends to " : " is attended to by ";
    this.#readout.replaceChildren(element("strong", {}, this.#name(picked.place)), does, ...(named.length ? [...named, over] : ["nothing"]));
  }

  #name(place) {
    return element("bdi", {}, shownToken(this.#tokens[place]));
  }

  #listen() {
    const sides = [
      ["from", this.#left, this.#right],
      ["to", this.#right, this.#left],
    ];
    for (const [side, column, other] of sides) {
      const pick = (event) => {
        const at = event.target.closest("[role=option]");
        if (at) this.#pick({ side, place: Number(at.dataset.place) });
      };
      const across = side === "from" ? "ArrowRight" : "ArrowLeft";
      column.list.addEventListener("pointerover", pick);
      column.list.addEventListener("focusin", pick);
      roving(column.list, (key, at) => {
        if (key === "Escape") return this.#pick(null), true;
        if (key !== "ArrowLeft" && key !== "ArrowRight") return false;
        if (key === across) focusOption(other.list, other.nearest(column.middle(Number(at.dataset.place))));
        return true;
      });
    }
    this.element.addEventListener("pointerleave", () => this.#pick(null));
    this.element.addEventListener("focusout", (event) => {
      if (!this.element.contains(event.relatedTarget)) this.#pick(null);
    });
  }
}

/** The rows of a column: places of tokens, and before those of a part its name, where there are several parts. */
function grouped(tokens, places) {
  const isMixed = new Set(places.map((place) => tokens[place].part)).size > 1;
  return places.flatMap((place, index) => {
    const { part } = tokens[place];
    const begins = index === 0 || tokens[places[index - 1]].part !== part;
    return isMixed && begins && part !== "special" ? [{ part }, { place }] : [{ place }];
  });
}

/** One column of tokens, in rows of equal height. */
class Column {
  #rows = new Map();
  #step;
  #above;

  constructor(name, tokens, own, rows) {
    // A few tokens stand apart, in the middle of the many that they attend to.
    this.#step = own.length ? Math.min(rows / own.length, FARTHEST) : 1;
    this.#above = (rows - this.#step * own.length) / 2;
    this.list = element("div", { className: "tokens-column", role: "listbox", "aria-label": name, "aria-orientation": "vertical" });
    own.forEach(({ part, place }, index) => {
      if (part) {
        this.list.append(element("p", { className: "group", "aria-hidden": "true" }, part));
        return;
      }
      const before = own[index - 1]?.place;
      const row = option(tokens[place], place, before !== undefined && before !== place - 1);
      row.tabIndex = this.#rows.size ? -1 : 0;
      this.#rows.set(place, { row, index });
      this.list.append(row);
    });
    this.list.style.setProperty("--step", this.#step);
    this.list.style.setProperty("--above", this.#above);
  }

  /** Where the line of a token ends, in rows from the top. */
  middle(place) {
    return this.#above + (this.#rows.get(place).index + 0.5) * this.#step;
  }

  /** The token that is next to a height. */
  nearest(height) {
    const at = (height - this.#above) / this.#step - 0.5;
    const far = ({ index }) => Math.abs(index - at);
    return [...this.#rows.values()].reduce((best, one) => (best && far(best) <= far(one) ? best : one), null)?.row;
  }

  /** Writes weights beside their tokens; without any, none are there. */
  weigh(means) {
    for (const { row } of this.#rows.values()) {
      if (!row.classList.contains("weighed")) continue;
      row.classList.remove("weighed");
      row.querySelector(".score")?.remove();
      row.style.removeProperty("--weight");
    }
    for (const { place, weight } of means) {
      const { row } = this.#rows.get(place) ?? {};
      if (!row) continue;
      row.classList.add("weighed");
      row.style.setProperty("--weight", weight.toFixed(3));
      row.append(element("span", { className: "score", "aria-hidden": "true" }, rounded(weight)));
    }
  }

  point(place) {
    for (const { row } of this.#rows.values()) row.setAttribute("aria-selected", "false");
    if (place !== null) this.#rows.get(place).row.setAttribute("aria-selected", "true");
  }
}

function option(token, place, afterGap) {
  return element(
    "div",
    {
      role: "option",
      className: `part-${token.part}${afterGap ? " after-gap" : ""}`,
      "data-place": place,
      "aria-selected": "false",
      "aria-label": `${shownToken(token)}, ${token.part}`,
      title: token.text,
    },
    element("bdi", {}, shownToken(token)),
  );
}
