// Scores, shares, sizes and texts for people.

import { element } from "../dom.js";

const SIZES = ["B", "kB", "MB", "GB", "TB"];

/** A score with three digits; what is no number, as NaN of a model that overflowed, as it is. */
export function score(value) {
  return typeof value === "number" ? value.toFixed(3) : String(value);
}

/** 12.3% */
export function percent(share) {
  const shown = (100 * share).toFixed(1);
  // Not all of them is never written as all.
  if (share < 1 && shown === "100.0") return "over 99.9%";
  if (share > 0 && shown === "0.0") return "under 0.1%";
  return `${shown}%`;
}

/** 45.2 MB */
export function bytes(value) {
  const power = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), SIZES.length - 1);
  return `${(value / 1000 ** power).toFixed(power ? 1 : 0)} ${SIZES[power]}`;
}

/** A text as nodes, in which what was searched for stands out. */
export function found(text, searched) {
  if (!searched) return [text];
  const pattern = new RegExp(searched.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "giu");
  const pieces = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    pieces.push(text.slice(from, match.index), element("b", { className: "hit" }, match[0]));
    from = match.index + match[0].length;
  }
  return [...pieces, text.slice(from)];
}
