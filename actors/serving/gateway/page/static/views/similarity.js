// A text compared with others by their embeddings.

import { ask } from "../asking.js";
import { element, field, lines, meter, needs } from "../dom.js";
import { requestCode } from "../request.js";
import { counted } from "../numbers.js";

const ROUTE = "pipeline/sentence-similarity";
const SOURCE = "Where was Ada Lovelace born?";
const OTHERS = "Ada Lovelace was born in London in 1815.\nShe wrote the first program for a machine.\nThe mill stands by the river.";

export const similarity = {
  id: "similarity",
  title: "Compare texts",
  offered: () => true,
  make: (service, model, notice) => new SimilarityView(service, notice).element,
};

class SimilarityView {
  #asking;
  #source = element("textarea", { id: "source", rows: 2, value: SOURCE });
  #others = element("textarea", { id: "others", rows: 6, value: OTHERS });
  #submit = element("button", { type: "submit" }, "Compare");
  #status = element("p", { className: "status", role: "status" }, "The texts come here.");
  #results = element("ol", { className: "results similar" });
  #code = requestCode();

  constructor(service, notice) {
    this.#asking = { service, notice, submit: this.#submit, status: this.#status, results: this.#results };
    const form = element(
      "form",
      { className: "card", oninput: () => this.#showCode(), onsubmit: (event) => this.#ask(event) },
      field("Text", this.#source),
      field("Compared with", this.#others, "One text a line."),
      element("div", { className: "row" }, this.#submit),
    );
    const found = element(
      "section",
      { className: "card", "aria-labelledby": "similar-heading" },
      element("h2", { id: "similar-heading" }, "Most similar first"),
      this.#status,
      this.#results,
      element("p", { className: "hint" }, "The cosine of the two embeddings: 1 where they point the same way."),
    );
    this.element = element(
      "div",
      { className: "view" },
      element("h1", {}, similarity.title),
      element("div", { className: "columns" }, form, found),
      this.#code.element,
    );
    this.#showCode();
  }

  #body() {
    return { inputs: { source_sentence: this.#source.value, sentences: lines(this.#others) } };
  }

  #showCode() {
    needs(this.#source, "Write a text.");
    needs(this.#others, "Write a text to compare with.");
    this.#code.show(this.#asking.service.url(ROUTE), Boolean(this.#asking.service.key), this.#body());
  }

  #ask(event) {
    event.preventDefault();
    const body = this.#body();
    ask(this.#asking, ROUTE, body, (scores) => {
      const compared = scores.map((score, index) => ({ score, text: body.inputs.sentences[index] }));
      this.#results.replaceChildren(...compared.sort((a, b) => b.score - a.score).map(item));
      return `${counted(scores.length, "text")} compared.`;
    });
  }
}

function item({ score, text }) {
  return element("li", {}, element("span", { className: "score" }, score.toFixed(3)), " ", text, meter(score));
}
