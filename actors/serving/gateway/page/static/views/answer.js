// Questions on a passage: the answers with their scores, and marked in the passage.

import { ask } from "../asking.js";
import { counted, element, field, lines, meter, needs } from "../dom.js";
import { requestCode } from "../request.js";

const ROUTE = "answer";
const COLOURS = 6;
const AROUND = 40;
const PASSAGE =
  "Ada Lovelace was born in London in 1815. At seventeen she met Charles Babbage, who showed her a part of his " +
  "Difference Engine. In 1843 she translated Luigi Menabrea's paper on the Analytical Engine, and added notes three " +
  "times as long as the paper: among them is the first program for a machine.";
const QUESTIONS = "Where was Ada Lovelace born?\nWho showed her the Difference Engine?";

export const answer = {
  id: "answer",
  title: "Ask a passage",
  offered: (model) => model.answers,
  make: (service, model, notice) => new AnswerView(service, notice).element,
};

class AnswerView {
  #asking;
  #passage = element("textarea", { id: "passage", rows: 9, value: PASSAGE });
  #questions = element("textarea", { id: "questions", rows: 3, value: QUESTIONS });
  #topK = element("input", { id: "top-k", type: "number", min: 1, max: 20, step: 1, value: "1", required: true });
  #abstain = element("input", { id: "abstain", type: "checkbox" });
  #submit = element("button", { type: "submit" }, "Find answers");
  #status = element("p", { className: "status", role: "status" }, "Answers come here, the best one of each question first.");
  #results = element("div", { className: "results" });
  #code = requestCode();

  constructor(service, notice) {
    this.#asking = { service, notice, submit: this.#submit, status: this.#status, results: this.#results };
    this.element = element(
      "div",
      { className: "view" },
      element("h1", {}, answer.title),
      element("div", { className: "columns" }, this.#form(), this.#found()),
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
    ask(this.#asking, ROUTE, body, ({ answers }, ms) => {
      this.#results.replaceChildren(answersOn(body.context, body.questions, answers));
      return `${counted(answers.length, "question")} answered in ${ms} ms.`;
    });
  }
}

/** The questions with their answers, and the passage in which one answer of each is marked: the best, or the chosen. */
function answersOn(passage, questions, answers) {
  // Offsets count code points, and JavaScript's strings are UTF-16.
  const points = Array.from(passage);
  const chosen = answers.map(() => 0);
  const marked = element("div", { className: "passage", id: "marked", tabIndex: 0, role: "region", "aria-label": "The passage with its answers" });
  const buttons = [];
  const renew = () => {
    marked.replaceChildren(...marks(points, chosen.map((rank, question) => answers[question][rank])));
    for (const one of buttons) one.button.setAttribute("aria-pressed", String(chosen[one.question] === one.rank));
  };
  const choose = (question, rank) => {
    chosen[question] = rank;
    renew();
    const mark = marked.querySelector(`[data-questions~="${question + 1}"]`);
    mark?.scrollIntoView({ block: "nearest" });
  };
  const cards = questions.map((text, question) => {
    const items = answers[question].map((one, rank) => {
      const button = element(
        "button",
        { type: "button", className: "answer", "aria-controls": "marked", onclick: () => choose(question, rank) },
        ...spoken(points, one),
      );
      buttons.push({ button, question, rank });
      return element("li", {}, button);
    });
    return element(
      "section",
      { className: `question colour-${question % COLOURS}` },
      element("h3", {}, element("span", { className: "number" }, String(question + 1)), ` ${text}`),
      element("ol", {}, ...items),
    );
  });
  renew();
  return element("div", {}, element("h3", {}, "In the passage"), marked, ...cards);
}

/** An answer with its score, and the words around it. */
function spoken(points, one) {
  const score = element("span", { className: "score" }, `score ${one.score.toFixed(3)}`);
  const bar = meter(one.score);
  if (one.answer === null) return [element("strong", {}, "No answer in this passage"), " ", score, bar];
  const before = points.slice(Math.max(one.start - AROUND, 0), one.start).join("");
  const after = points.slice(one.end, one.end + AROUND).join("");
  const snippet = element(
    "span",
    { className: "snippet", "aria-hidden": "true" },
    one.start > AROUND ? `…${before}` : before,
    element("b", {}, one.answer),
    one.end + AROUND < points.length ? `${after}…` : after,
  );
  return [element("strong", {}, one.answer), " ", score, bar, snippet];
}

/** The passage in pieces, those in an answer marked with the numbers of their questions; answers may overlap. */
function marks(points, spans) {
  const found = spans.map((span, question) => ({ ...span, question })).filter((span) => span.answer !== null);
  const bounds = new Set([0, points.length, ...found.flatMap((span) => [span.start, span.end])]);
  const places = [...bounds].sort((a, b) => a - b);
  return places.slice(0, -1).map((from, index) => {
    const text = points.slice(from, places[index + 1]).join("");
    const inside = found.filter((span) => span.start <= from && from < span.end);
    if (!inside.length) return text;
    const numbers = inside.map((span) => span.question + 1);
    const begun = inside.filter((span) => span.start === from).map((span) => span.question + 1);
    const said = `answer to ${counted(begun.length, "question").replace(/^\d+ /, "")} ${begun.join(", ")}: `;
    return element(
      "mark",
      { className: `colour-${inside[0].question % COLOURS}`, "data-questions": numbers.join(" ") },
      begun.length ? element("span", { className: "hidden" }, said) : null,
      text,
      begun.length ? element("sup", { "aria-hidden": "true" }, begun.join(",")) : null,
    );
  });
}
