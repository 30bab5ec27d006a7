// How probable it is that an answer begins, and ends, at each token of a window.

import { element } from "../dom.js";
import { showWithin } from "./passage.js";
import { roving } from "./roving.js";
import { placesOf, rounded, shownToken } from "./tokens.js";

const SHOWN = 0.005;
const MOST_NAMED = 4;

/**
 * The passage's tokens of a window, below each of them two bars: the probabilities that the answer begins and ends there.
 * @param {{first: number, tokens: Array<{text: string, part: string, start: number, end: number}>, start: number[],
 *     end: number[]}} window `start` and `end` have a number for each token of the window
 * @param {{start: number, end: number}|null} answer code points of the passage: its tokens are marked
 * @returns {HTMLElement}
 */
export function probabilityView(window, answer = null) {
  const inAnswer = new Set(answer ? placesOf(window.tokens, answer) : []);
  const places = window.tokens.map((_, place) => place).filter((place) => window.tokens[place].part === "passage");
  const readout = element("p", { className: "readout" }, hint());
  const list = element("div", {
    className: "tokens",
    role: "listbox",
    dir: "auto",
    "aria-label": "Tokens of the window, with the probabilities that the answer starts and ends there",
    "aria-orientation": "horizontal",
  });
  list.append(...places.map((place, index) => option(window, place, places[index - 1], inAnswer.has(place))));
  const first = list.querySelector(".in-answer") ?? list.firstChild;
  if (first) first.tabIndex = 0;
  if (inAnswer.size) requestAnimationFrame(() => showWithin(list, first));
  roving(list);
  const say = (event) => {
    const at = event.target.closest("[role=option]");
    if (at) readout.replaceChildren(...sentenceOf(window, Number(at.dataset.place)));
  };
  list.addEventListener("pointerover", say);
  list.addEventListener("focusin", say);
  return element(
    "div",
    { className: "probabilities" },
    likeliest(window, places),
    element("div", { className: "row legend" }, key("start", "starts here"), key("end", "ends here"), key("full", "a probability of 1 is as high as this"), readout),
    list,
    table(window, places),
  );
}

function hint() {
  return "Point at a token, or move with the arrow keys, to read its numbers.";
}

function key(side, text) {
  return element("span", { className: `key ${side}` }, text);
}

function option(window, place, before, inAnswer) {
  const token = window.tokens[place];
  const [start, end] = [window.start[place], window.end[place]];
  const glued = before !== undefined && window.tokens[before].end === token.start;
  const made = element(
    "span",
    {
      role: "option",
      tabIndex: -1,
      className: `token${glued ? " glued" : ""}${inAnswer ? " in-answer" : ""}`,
      "data-place": place,
      "aria-selected": String(inAnswer),
      "aria-label": `${token.text}: start ${rounded(start)}, end ${rounded(end)}${inAnswer ? ", in the answer" : ""}`,
    },
    element("bdi", {}, shownToken(token)),
  );
  // Only tokens with something to show have their bars drawn.
  if (start >= SHOWN) made.style.setProperty("--start-p", start.toFixed(3));
  if (end >= SHOWN) made.style.setProperty("--end-p", end.toFixed(3));
  return made;
}

function sentenceOf(window, place) {
  const name = element("strong", {}, element("bdi", {}, shownToken(window.tokens[place])));
  return [name, ` starts the answer with ${percent(window.start[place])}, and ends it with ${percent(window.end[place])}`];
}

function percent(probability) {
  return probability > 0 && probability < 0.001 ? "less than 0.1 %" : `${(100 * probability).toFixed(1)} %`;
}

/** The most probable starts and ends in words, and how probable it is that this window holds no answer. */
function likeliest(window, places) {
  const none = window.tokens.findIndex(({ part }, place) => part === "special" && (window.start[place] > 0 || window.end[place] > 0));
  const rows = [
    ["Likeliest starts", best(window, places, window.start)],
    ["Likeliest ends", best(window, places, window.end)],
  ];
  if (none >= 0) {
    const product = window.start[none] * window.end[none];
    const token = window.tokens[none].text;
    rows.push([`No answer in this window`, `${percent(product)}: the probabilities of ${token} as start and as end, multiplied`]);
  }
  return element(
    "dl",
    { className: "likeliest" },
    ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

function best(window, places, numbers) {
  const heaviest = [...places].sort((a, b) => numbers[b] - numbers[a]).slice(0, MOST_NAMED);
  const named = heaviest.filter((place, rank) => rank === 0 || numbers[place] >= SHOWN);
  return element(
    "span",
    {},
    ...named.flatMap((place, rank) => [
      rank ? " · " : "",
      element("bdi", {}, shownToken(window.tokens[place])),
      ` ${rounded(numbers[place])}`,
    ]),
  );
}

/** All numbers of the window; its rows are made when somebody opens it. */
function table(window, places) {
  const body = element("tbody");
  const heads = ["Token", "Starts here", "Ends here"].map((text) => element("th", { scope: "col" }, text));
  const made = element(
    "details",
    { className: "as-table" },
    element("summary", {}, "As a table"),
    element(
      "div",
      { className: "scrolling", tabIndex: 0, role: "region", "aria-label": "Probabilities of every token" },
      element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body),
    ),
  );
  made.addEventListener("toggle", () => {
    if (!made.open || body.firstChild) return;
    const rows = places.map((place) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, element("bdi", {}, shownToken(window.tokens[place]))),
        element("td", {}, window.start[place].toFixed(4)),
        element("td", {}, window.end[place].toFixed(4)),
      ),
    );
    body.append(...rows);
  });
  return made;
}
