// One row of both outputs: both answers in one passage.

import { element, meter } from "../../dom.js";
import { colourOf, markedPassage } from "../../parts/passage.js";
import { number } from "../../numbers.js";
import { lastOnly } from "../api.js";
import { changed, hash } from "../state.js";
import { StatusLine } from "../status.js";
import { score } from "../words.js";
import { sideNames } from "./comparison.js";
import { answersOf, passageOf, showFirstMark } from "./row.js";

export const pair = {
  id: "pair",
  title: () => "Pair",
  offered: (job) => job.outputs.length > 1,
  within: () => "compare",
  make: (app) => new PairView(app),
};

class PairView {
  #app;
  #back = element("a", {}, "Back to the comparison");
  #status;
  #content = element("div");
  #ask;

  constructor(app) {
    this.#app = app;
    this.#status = new StatusLine(app);
    this.#ask = lastOnly((error) => {
      this.#content.replaceChildren();
      this.#status.refuse(error);
    }, app.left);
    this.element = element("div", { className: "view" }, element("p", { className: "pager" }, this.#back), this.#status.element, this.#content);
  }

  update(params) {
    this.#back.href = hash("compare", changed(params, { first: "", second: "" }));
    this.#status.say("Reading both rows …");
    this.#ask((signal) => this.#fetch([params.get("first"), params.get("second")], signal));
  }

  async #fetch(keys, signal) {
    const { api } = this.#app;
    const found = await Promise.all(keys.map((key, output) => (key ? api.get("row", { output, key }, signal) : null)));
    // The passage of whichever output carries it, else of the input that the first one names.
    let texts = found.find((row) => row?.passage)?.passage;
    for (const [output, key] of keys.entries()) {
      if (key && (!texts || texts.source === "missing")) texts = await passageOf(api, { output, key }, signal);
    }
    this.#status.say("");
    this.#show(found, texts);
  }

  #show(found, { texts, why }) {
    const names = sideNames(this.#app.job);
    const best = found.map((row) => row && (answersOf(row.values)[0] ?? null));
    const text = texts.context ?? texts.text;
    const id = found.find(Boolean).values.id;
    const spans = best.flatMap((one, side) => (one ? [{ ...one, rank: 0, colour: side, label: String(side + 1), said: `answer of ${names[side]}` }] : []));
    const sides = found.map((row, side) =>
      element(
        "section",
        { className: `card side ${colourOf(side)}`, "aria-label": names[side] },
        element("h2", {}, element("span", { className: "number" }, String(side + 1)), " ", element("bdi", {}, names[side])),
        ...said(row, best[side]),
        row ? element("p", {}, element("a", { href: hash("row", { output: side || "", key: row.key }) }, "The whole row")) : null,
      ),
    );
    const passage = text === undefined ? element("p", {}, `It is not at hand: ${why}.`) : markedPassage(text, spans, "The passage with both answers");
    this.#content.replaceChildren(
      element("h1", { dir: "auto" }, texts.question ?? id),
      element("p", { className: "hint subtitle" }, id),
      element("div", { className: "columns" }, ...sides),
      element("section", { className: "card behind", "aria-label": "Passage" }, element("h2", {}, "Passage"), passage),
    );
    showFirstMark(passage);
  }
}

function said(row, best) {
  if (!row) return [element("p", { className: "absent" }, "This output has no such row.")];
  if (!best) return [element("p", { className: "hint" }, "An embedding.")];
  const place = Number.isInteger(best.start) ? `, characters ${number(best.start)} to ${number(best.end)}` : "";
  return [
    element("p", { className: "best-answer", dir: "auto" }, best.answer === null ? element("span", { className: "absent" }, "no answer") : best.answer),
    element("p", { className: "score" }, `score ${score(best.score)}${place}`),
    meter(Number(best.score) || 0),
  ];
}
