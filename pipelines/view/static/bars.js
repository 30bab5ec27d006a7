// Counts as bars: names with how many there are of each, which may be chosen.

import { element } from "../dom.js";
import { number } from "../numbers.js";

/**
 * @param {Array<[string, number]>} counts most frequent first
 * @param {{chosen?: string, onchoose?: function(string): void, labels?: Object<string, string>}} options with `onchoose`, bars are buttons
 */
export function bars(counts, { chosen = "", onchoose = null, labels = {} } = {}) {
  const most = Math.max(...counts.map(([, count]) => count), 1);
  const items = counts.map(([name, count]) => {
    const bar = element("span", { className: "bar-fill", "aria-hidden": "true" });
    bar.style.setProperty("--share", count / most);
    const content = [element("bdi", { className: "bar-name" }, labels[name] ?? name), element("span", { className: "bar-count" }, number(count)), bar];
    if (!onchoose) return element("li", { className: "bar-row" }, ...content);
    const button = element("button", { type: "button", className: "quiet bar-row", "aria-pressed": String(name === chosen), onclick: () => onchoose(name) }, ...content);
    return element("li", {}, button);
  });
  return element("ul", { className: "bars" }, ...items);
}

/**
 * A histogram of equal steps from 0 to 1, with the same as a table for whoever cannot see it.
 * @param {number[]} counts
 * @param {function(number, number): string|null} address of the rows between two scores
 */
export function histogram(counts, address) {
  const most = Math.max(...counts, 1);
  const edge = (place) => (place / counts.length).toFixed(2);
  const columns = counts.map((count, place) => {
    const from = edge(place);
    // The last one takes what is above, too.
    const to = place + 1 < counts.length ? edge(place + 1) : "";
    const said = `score ${from} ${to ? `to ${to}` : "and more"}: ${number(count)} rows`;
    const made = element("a", { className: "column", href: address(from, to), title: said, "aria-label": said }, element("span", { className: "fill" }));
    made.style.setProperty("--share", count / most);
    return element("li", {}, made);
  });
  return element(
    "div",
    { className: "histogram" },
    element("ol", {}, ...columns),
    element("div", { className: "axis", "aria-hidden": "true" }, ...["0", "0.25", "0.5", "0.75", "1"].map((text) => element("span", {}, text))),
  );
}
