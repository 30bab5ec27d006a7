// What came back for a passage: the passage with answers marked, and the candidates of every question.

import { element } from "../dom.js";
import { candidateList } from "../parts/candidates.js";
import { colourOf, emphasise, markedPassage, showWithin } from "../parts/passage.js";

/**
 * The passage, in which the chosen candidate of every question is marked and all candidates of one, and below it the
 * questions with their candidates.
 */
export class AnswersView {
  #asked;
  #chosen;
  #current = 0;
  #spans = [];
  #marked;
  #lists;

  /**
   * @param {{passage: string, questions: string[], answers: Array<Array<Object>>}} asked
   * @param {{onchoose: function(number, number): void, onlook: function(number, number): void}} does with the numbers of a
   *     question and of its candidate: that it was chosen, or that somebody wants to see how the model read it
   */
  constructor(asked, { onchoose, onlook }) {
    this.#asked = asked;
    this.#chosen = asked.answers.map(() => 0);
    this.#lists = asked.answers.map((candidates, question) =>
      candidateList(asked.passage, candidates, {
        onpreview: (rank) => this.#preview(question, rank),
        onchoose: (rank) => {
          this.#chosen[question] = rank;
          this.#mark(question);
          this.#preview(question, rank);
          onchoose(question, rank);
        },
      }),
    );
    const cards = asked.questions.map((text, question) => this.#card(text, question, () => onlook(question, this.#chosen[question])));
    this.#marked = element("div");
    this.element = element("div", {}, element("h3", {}, "In the passage"), this.#marked, ...cards);
    this.#mark(0);
    requestAnimationFrame(() => this.#showChosen());
  }

  #card(text, question, look) {
    const number = element("span", { className: "number" }, String(question + 1));
    const button = element("button", { type: "button", className: "quiet small", onclick: look }, "Look inside");
    button.append(element("span", { className: "hidden" }, `: question ${question + 1}`));
    return element(
      "section",
      { className: `question ${colourOf(question)}` },
      element("div", { className: "heading" }, element("h3", {}, number, " ", element("bdi", {}, text)), button),
      this.#lists[question].element,
    );
  }

  /** Marks the chosen candidates, and the others of one question. */
  #mark(current) {
    this.#current = current;
    this.#spans = this.#asked.answers.flatMap((candidates, question) =>
      candidates.flatMap((one, rank) => {
        const isChosen = rank === this.#chosen[question];
        if (!isChosen && question !== current) return [];
        const said = isChosen ? `answer to question ${question + 1}` : `candidate ${rank + 1} of question ${question + 1}`;
        const label = isChosen ? String(question + 1) : "";
        return [{ ...one, question, candidate: rank, rank: isChosen ? 0 : rank + 1, colour: question, label, said }];
      }),
    );
    const marked = markedPassage(this.#asked.passage, this.#spans);
    marked.id = "marked";
    const scrolled = this.#marked.scrollTop;
    this.#marked.replaceWith(marked);
    marked.scrollTop = scrolled;
    this.#marked = marked;
    this.#lists.forEach((list, question) => list.choose(this.#chosen[question]));
  }

  /** Scrolls the passage to the answer of its first question. */
  #showChosen() {
    const best = this.#marked.querySelector("mark.best");
    if (best) showWithin(this.#marked, best);
  }

  #preview(question, rank) {
    if (rank !== null && question !== this.#current) this.#mark(question);
    const place = this.#spans.findIndex((span) => span.question === question && span.candidate === rank);
    emphasise(this.#marked, place < 0 ? null : place);
  }
}
