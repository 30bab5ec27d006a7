// What the answer attended to: the tokens that its first and its last token attended to, heaviest first.

import { element } from "../dom.js";
import { shownToken } from "./tokens.js";

const MOST_NAMED = 3;

/**
 * A sentence, and a table with the weights of every token.
 * @param {Array<{part: string, text: string, start: number, end: number, from_start: number, from_end: number}>|null} list
 *     heaviest first; the weights are sums over the heads of a layer, and means over the layers. null: there is no answer.
 * @returns {HTMLElement}
 */
export function attributionView(list) {
  const view = element("div", { className: "attribution" });
  if (!list?.length) {
    view.append(element("p", {}, "There is no answer here, and so nothing that it attended to."));
    return view;
  }
  const most = Math.max(...list.flatMap(({ from_start, from_end }) => [from_start, from_end]));
  view.append(
    sentence(list),
    element(
      "div",
      { className: "scrolling", tabIndex: 0, role: "region", "aria-label": "What the answer attended to" },
      element(
        "table",
        {},
        element("thead", {}, element("tr", {}, ...["Token", "In the", "From its first token", "From its last token"].map(heading))),
        element("tbody", {}, ...list.map((one) => row(one, most))),
      ),
    ),
    element(
      "p",
      { className: "hint" },
      "Attention of the answer's first and last token, summed over the heads of a layer and averaged over the layers. " +
        "They tell where the model read something from, which is not yet why it answered so.",
    ),
  );
  return view;
}

function sentence(list) {
  const named = ["question", "passage"].map((part) => [part, list.filter((one) => one.part === part).slice(0, MOST_NAMED)]);
  const parts = named.filter(([, tokens]) => tokens.length).map(([part, tokens]) => [...listed(tokens), ` in the ${part}`]);
  return element("p", {}, "Most of all the answer attended to ", ...parts.flatMap((words, index) => (index ? [", and to ", ...words] : words)), ".");
}

function listed(tokens) {
  return tokens.flatMap((token, index) => {
    const before = index === 0 ? "" : index === tokens.length - 1 ? " and " : ", ";
    return [before, element("strong", {}, element("bdi", {}, shownToken(token)))];
  });
}

function heading(text) {
  return element("th", { scope: "col" }, text);
}

function row(one, most) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, element("bdi", {}, shownToken(one))),
    element("td", {}, one.part),
    weight(one.from_start, most, "start"),
    weight(one.from_end, most, "end"),
  );
}

function weight(value, most, side) {
  const bar = element("span", { className: `weight ${side}`, "aria-hidden": "true" });
  bar.style.setProperty("--share", (value / most).toFixed(3));
  return element("td", {}, bar, element("span", { className: "score" }, value.toFixed(2)));
}
