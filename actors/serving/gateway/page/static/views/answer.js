// Questions on a passage: the answers with their scores, and marked in the passage.

import { ask } from "../asking.js";
import { element, field, lines, needs, reveal } from "../dom.js";
import { requestCode } from "../request.js";
import { counted } from "../numbers.js";
import { AnswersView } from "./answers.js";
import { InsideView } from "./inside.js";

const ROUTE = "answer";
const PASSAGE =
  "Ada Lovelace was born in London in 1815. At seventeen she met Charles Babbage, who showed her a part of his " +
  "Difference Engine. In 1843 she translated Luigi Menabrea's paper on the Analytical Engine, and added notes three " +
  "times as long as the paper: among them is the first program for a machine.";
const QUESTIONS = "Where was Ada Lovelace born?\nWho showed her the Difference Engine?";

export const answer = {
  id: "answer",
  title: "Ask a passage",
  offered: (model) => model.answers,
  make: (service, model, notice) => new AnswerView(service, model, notice).element,
};

class AnswerView {
  #asking;
  #passage = element("textarea", { id: "passage", rows: 9, value: PASSAGE });
  #questions = element("textarea", { id: "questions", rows: 3, value: QUESTIONS });
  #topK = element("input", { id: "top-k", type: "number", min: 1, max: 20, step: 1, value: "5", required: true });
  #abstain = element("input", { id: "abstain", type: "checkbox" });
  #submit = element("button", { type: "submit" }, "Find answers");
  #status = element("p", { className: "status", role: "status" }, "Answers come here, the best one of each question first.");
  #results = element("div", { className: "results" });
  #inside;
  #code = requestCode();

  constructor(service, model, notice) {
    this.#inside = new InsideView(service, model, notice);
    this.#asking = { service, notice, submit: this.#submit, status: this.#status, results: this.#results };
    this.element = element(
      "div",
      { className: "view" },
      element("h1", {}, answer.title),
      element("div", { className: "columns" }, this.#form(), this.#found()),
      this.#inside.element,
      this.#code.element,
    );
    this.#showCode();
  }

  #form() {
    const clear = () => {
      this.#passage.value = this.#questions.value = "";
      this.#showCode();
      this.#passage.focus();
    };
    const form = element(
      "form",
      { className: "card", oninput: () => this.#showCode(), onsubmit: (event) => this.#ask(event) },
      field("Passage", this.#passage),
      field("Questions", this.#questions, "One a line."),
      element(
        "div",
        { className: "options" },
        field("Answers to each", this.#topK),
        element("label", { className: "check" }, this.#abstain, " There may be no answer"),
      ),
      element(
        "div",
        { className: "row" },
        this.#submit,
        element("button", { type: "button", className: "quiet", onclick: clear }, "Clear"),
      ),
    );
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    return form;
  }

  #found() {
    return element(
      "section",
      { className: "card", "aria-labelledby": "answers-heading" },
      element("h2", { id: "answers-heading" }, "Answers"),
      this.#status,
      this.#results,
    );
  }

  #body() {
    const parameters = {};
    if (this.#topK.valueAsNumber > 1) parameters.top_k = this.#topK.valueAsNumber;
    if (this.#abstain.checked) parameters.handle_impossible_answer = true;
    const body = { context: this.#passage.value, questions: lines(this.#questions) };
    return Object.keys(parameters).length ? { ...body, parameters } : body;
  }

  #showCode() {
    needs(this.#passage, "Write or paste a passage.");
    needs(this.#questions, "Write a question.");
    this.#code.show(this.#asking.service.url(ROUTE), Boolean(this.#asking.service.key), this.#body());
  }

  #ask(event) {
    event.preventDefault();
    const body = this.#body();
    this.#inside.clear();
    ask(this.#asking, ROUTE, body, ({ answers }, ms) => {
      const asked = { passage: body.context, questions: body.questions, answers, parameters: body.parameters ?? {} };
      const found = new AnswersView(asked, {
        onchoose: (question, rank) => this.#inside.show(question, rank),
        onlook: (question, rank) => {
          this.#inside.show(question, rank);
          reveal(this.#inside.element);
          this.#inside.element.focus({ preventScroll: true });
        },
      });
      this.#results.replaceChildren(found.element);
      this.#inside.open(asked);
      return `${counted(answers.length, "question")} answered in ${ms} ms.`;
    });
  }
}
