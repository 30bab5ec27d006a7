// The candidates of a question, best first, with their scores and the words around them.

import { element, meter } from "../dom.js";

const AROUND = 40;

/**
 * A list of buttons. Pointing at a candidate, or moving the focus to it, previews it; pressing it chooses it.
 * @param {string} text the passage
 * @param {Array<{answer: string|null, score: number, start: number|null, end: number|null}>} candidates best first
 * @param {{onpreview: function(number|null): void, onchoose: function(number): void}} does with the rank of a candidate; null
 *     when none is pointed at any more
 * @returns {{element: HTMLElement, choose: function(number): void}} `choose` shows which is chosen
 */
export function candidateList(text, candidates, { onpreview, onchoose }) {
  const points = Array.from(text);
  const buttons = candidates.map((one, rank) =>
    element(
      "button",
      {
        type: "button",
        className: rank ? "answer other" : "answer",
        "aria-controls": "marked",
        onclick: () => onchoose(rank),
        onpointerenter: () => onpreview(rank),
        onpointerleave: () => onpreview(null),
        onfocus: () => onpreview(rank),
        onblur: () => onpreview(null),
      },
      ...spoken(points, one),
    ),
  );
  return {
    element: element("ol", { className: "candidates" }, ...buttons.map((button) => element("li", {}, button))),
    choose: (chosen) => buttons.forEach((button, rank) => button.setAttribute("aria-pressed", String(rank === chosen))),
  };
}

/** An answer with its score, and the words around it. */
function spoken(points, one) {
  const score = element("span", { className: "score" }, `score ${one.score.toFixed(3)}`);
  const bar = meter(one.score);
  if (one.answer === null) return [element("strong", {}, "No answer in this passage"), " ", score, bar];
  const before = points.slice(firstWord(points, one.start), one.start).join("");
  const after = points.slice(one.end, lastWord(points, one.end)).join("");
  const snippet = element(
    "span",
    { className: "snippet", "aria-hidden": "true", dir: "auto" },
    firstWord(points, one.start) > 0 ? `… ${before}` : before,
    element("b", {}, one.answer),
    lastWord(points, one.end) < points.length ? `${after} …` : after,
  );
  return [element("strong", {}, element("bdi", {}, one.answer)), " ", score, bar, snippet];
}

/** Where the words before a place begin of which an excerpt is made; within a word only where that is a very long one. */
function firstWord(points, start) {
  const least = Math.max(start - AROUND, 0);
  if (least === 0 || isBlank(points[least - 1])) return least;
  const blank = points.slice(least, start).findIndex(isBlank);
  return blank < 0 ? least : least + blank + 1;
}

/** Where the words behind a place end. */
function lastWord(points, end) {
  const most = Math.min(end + AROUND, points.length);
  if (most === points.length || isBlank(points[most])) return most;
  const blank = points.slice(end, most).findLastIndex(isBlank);
  return blank < 0 ? most : end + blank;
}

function isBlank(point) {
  return /\s/.test(point);
}
