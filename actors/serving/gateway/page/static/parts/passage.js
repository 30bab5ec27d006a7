// A passage in which spans are marked. Offsets count code points, and JavaScript's strings are UTF-16.

import { element } from "../dom.js";

const COLOURS = 6;

/** The class that gives the colour of a question, by its number. */
export function colourOf(question) {
  return `colour-${question % COLOURS}`;
}

/**
 * The passage with its spans marked, which may overlap: the best of each colour is filled, others have a line below.
 * @param {string} text the passage
 * @param {Array<{start: number, end: number, score: number, rank: number, colour?: number, label?: string, said?: string}>}
 *     spans code points of the passage; rank 0 is the best. `colour` is the number of the question, `label` stands behind the
 *     span, and `said` is what a screen reader says before it. A span without a start is no answer, and marks nothing.
 * @param {string} name of the region, for screen readers
 * @returns {HTMLElement} whose marks have `data-spans`, the places in `spans` of those that they belong to
 */
export function markedPassage(text, spans, name = "The passage with its answers") {
  const passage = element("div", { className: "passage", tabIndex: 0, role: "region", "aria-label": name, dir: "auto" });
  passage.append(...pieces(Array.from(text), spans));
  return passage;
}

/** Has one span of a marked passage stand out, and shows it; null lets none stand out. */
export function emphasise(passage, place) {
  let first = null;
  for (const mark of passage.querySelectorAll("mark")) {
    const belongs = place !== null && mark.dataset.spans.split(" ").includes(String(place));
    mark.classList.toggle("active", belongs);
    if (belongs) first ??= mark;
  }
  if (first) showWithin(passage, first);
}

/** Scrolls a box, and not the page around it, as little as shows an element inside. */
export function showWithin(box, inside) {
  const [outer, inner] = [box.getBoundingClientRect(), inside.getBoundingClientRect()];
  const margin = Math.min(32, outer.height / 4);
  if (inner.top < outer.top + margin) box.scrollTop -= outer.top + margin - inner.top;
  else if (inner.bottom > outer.bottom - margin) box.scrollTop += inner.bottom - outer.bottom + margin;
}

function pieces(points, spans) {
  const placed = spans.map((span, place) => ({ ...span, place })).filter(({ start }) => Number.isInteger(start));
  // Of spans at one place the best gives the colour, and so is drawn; it comes first.
  placed.sort((a, b) => a.rank - b.rank || (a.colour ?? 0) - (b.colour ?? 0));
  const bounds = new Set([0, points.length, ...placed.flatMap(({ start, end }) => [start, end])]);
  const places = [...bounds].sort((a, b) => a - b);
  return places.slice(0, -1).map((from, index) => {
    const text = points.slice(from, places[index + 1]).join("");
    const inside = placed.filter(({ start, end }) => start <= from && from < end);
    return inside.length ? marked(text, inside, inside.filter(({ start }) => start === from)) : text;
  });
}

function marked(text, inside, begun) {
  const best = inside[0];
  const said = begun.map((span) => span.said ?? saidOf(span)).join("; ");
  const labels = [...new Set(begun.map(({ label }) => label).filter(Boolean))].join(",");
  return element(
    "mark",
    {
      className: `${colourOf(best.colour ?? 0)} ${best.rank === 0 ? "best" : "other"}`,
      "data-spans": inside.map(({ place }) => place).join(" "),
    },
    said ? element("span", { className: "hidden" }, `${said}: `) : null,
    text,
    labels ? element("sup", { "aria-hidden": "true" }, labels) : null,
  );
}

function saidOf({ rank, score }) {
  const scored = Number.isFinite(score) ? `, score ${score.toFixed(3)}` : "";
  return rank === 0 ? `answer${scored}` : `candidate ${rank + 1}${scored}`;
}
