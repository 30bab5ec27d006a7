// A text compared with others by their embeddings.

import { counted, element, field, lines, needs, reveal } from "../dom.js";
import { requestCode } from "../request.js";

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
  #service;
  #notice;
  #source = element("textarea", { id: "source", rows: 2, value: SOURCE });
  #others = element("textarea", { id: "others", rows: 6, value: OTHERS });
  #submit = element("button", { type: "submit" }, "Compare");
  #status = element("p", { className: "status", role: "status" }, "The texts come here.");
  #results = element("ol", { className: "results similar" });
  #code = requestCode();

  constructor(service, notice) {
    this.#service = service;
    this.#notice = notice;
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
    this.#code.show(this.#service.url(ROUTE), Boolean(this.#service.key), this.#body());
  }

  async #ask(event) {
    event.preventDefault();
    const body = this.#body();
    this.#notice.say("");
    this.#submit.disabled = true;
    this.#status.className = "status";
    this.#status.textContent = "Asking …";
    try {
      const scores = await this.#service.post(ROUTE, body);
      const compared = scores.map((score, index) => ({ score, text: body.inputs.sentences[index] }));
      this.#status.textContent = `${counted(scores.length, "text")} compared.`;
      this.#results.replaceChildren(...compared.sort((a, b) => b.score - a.score).map(item));
      reveal(this.#results);
    } catch (refused) {
      this.#status.className = "status refused";
      this.#status.textContent = refused.message;
      this.#results.replaceChildren();
      if (refused.status === 401) this.#notice.refuse(refused);
    } finally {
      this.#submit.disabled = false;
    }
  }
}

function item({ score, text }) {
  const bar = element("span", { className: "meter", "aria-hidden": "true" }, element("span"));
  bar.firstChild.style.width = `${100 * Math.min(Math.max(score, 0), 1)}%`;
  return element("li", {}, element("span", { className: "score" }, score.toFixed(3)), " ", text, bar);
}
