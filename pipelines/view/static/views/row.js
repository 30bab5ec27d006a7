// One row: its passage with the answers marked, all its columns, and what the model looked at where the job wrote that.

import { element, meter, select } from "../../dom.js";
import { attentionView } from "../../parts/attention.js";
import { attributionView } from "../../parts/attribution.js";
import { candidateList } from "../../parts/candidates.js";
import { emphasise, markedPassage } from "../../parts/passage.js";
import { counted, number } from "../../numbers.js";
import { lastOnly } from "../api.js";
import { facts } from "../facts.js";
import { chosenOutput } from "../outputs.js";
import { changed, hash } from "../state.js";
import { StatusLine } from "../status.js";
import { score } from "../words.js";
import { asked } from "./rows.js";

const ANSWER_FIELDS = ["answer", "score", "start", "end", "answers"];
const FEW = 12;

export const row = {
  id: "row",
  title: () => "Row",
  offered: () => true,
  within: () => "rows",
  make: (app) => new RowView(app),
};

class RowView {
  #app;
  #params = null;
  #ask;
  #turn = element("nav", { className: "pager row", "aria-label": "Rows of the list" });
  #content = element("div");
  #status;

  constructor(app) {
    this.#app = app;
    this.#status = new StatusLine(app);
    this.#ask = lastOnly((error) => this.#refused(error), app.left);
    this.element = element("div", { className: "view" }, this.#turn, this.#status.element, this.#content);
  }

  update(params) {
    this.#params = params;
    const output = chosenOutput(this.#app.job, params);
    this.#showTurn();
    this.#status.say("Reading the row …");
    this.#ask((signal) => this.#fetch(output, signal));
  }

  async #fetch(output, signal) {
    const at = { output: output.number, key: this.#params.get("key") };
    const found = await this.#app.api.get("row", at, signal);
    const answers = answersOf(found.values);
    const passage = element("div", { className: "card" });
    this.#show(output, found, answers, passage);
    this.#status.say("");
    const texts = found.passage ?? (await this.#fromInput(at, passage, signal));
    showPassage(passage, texts, answers, output, chunkOf(found.values, output));
    this.#content.querySelector("h1").textContent = texts.texts.question ?? found.values.id;
    // One after the other: the heavy columns of a row are read from the same part.
    for (const [name, section] of this.#sections) await this.#fill(name, section, at, answers, signal);
  }

  async #fromInput(at, passage, signal) {
    passage.replaceChildren(element("p", { className: "hint" }, "Reading the passage from the input …"));
    return passageOf(this.#app.api, at, signal);
  }

  #sections = new Map();

  #show(output, found, answers, passage) {
    const isShown = (name) => (answers.length && ANSWER_FIELDS.includes(name)) || (found.passage && Object.values(output.roles).includes(name));
    const plain = Object.entries(found.values).filter(([name]) => !isShown(name));
    this.#sections = new Map(
      found.heavy.map((name) => [name, element("section", { className: "card behind", "aria-label": name }, element("h2", {}, name), element("p", { className: "hint" }, "Reading …"))]),
    );
    this.#content.replaceChildren(
      element("h1", { dir: "auto" }, found.values.id ?? ""),
      element(
        "div",
        { className: "columns wide-left" },
        passage,
        element(
          "section",
          { className: "card", "aria-label": "Columns" },
          ...(answers.length === 1 ? [answerFacts(answers[0])] : []),
          facts(plain),
        ),
      ),
      ...this.#sections.values(),
    );
  }

  async #fill(name, section, at, answers, signal) {
    let shown;
    try {
      const found = await this.#app.api.get("value", { ...at, column: name }, signal);
      shown = heavyView(name, found, answers[0], (item) => this.#app.api.get("value", { ...at, column: name, item }, this.#app.left));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      shown = element("p", { className: "refused" }, error.message);
    }
    section.replaceChildren(element("h2", {}, name), shown);
  }

  /** Back to the list, and to the rows before and behind in it. */
  #showTurn() {
    const place = Number(this.#params.get("at") ?? -1);
    const list = changed(this.#params, { key: "", at: "" });
    const step = (by, name, sign) =>
      element("button", { type: "button", className: "quiet small", "aria-label": name, title: name, disabled: place + by < 0, onclick: () => this.#go(place + by) }, sign);
    this.#turn.replaceChildren(
      element("a", { href: hash("rows", list) }, "Back to the rows"),
      ...(place >= 0 ? [step(-1, "Row before", "‹"), element("span", { className: "range" }, `row ${number(place + 1)} of the list`), step(1, "Next row", "›")] : []),
    );
  }

  async #go(place) {
    const focused = document.activeElement?.title;
    try {
      const { rows } = await this.#app.api.get("rows", new URLSearchParams([...asked(this.#params), ["offset", place], ["limit", 1]]), this.#app.left);
      if (rows.length) this.#app.change({ key: rows[0].key, at: place });
      else this.#status.say("That was the last row.");
    } catch (error) {
      if (error.name !== "AbortError") this.#refused(error);
    }
    [...this.#turn.querySelectorAll("button")].find(({ title }) => title === focused)?.focus();
  }

  #refused(error) {
    this.#content.replaceChildren();
    this.#status.refuse(error);
  }
}

/** The texts that a row was made of; where they cannot be had, what is said instead of them. */
export async function passageOf(api, at, signal) {
  try {
    return await api.get("passage", at, signal);
  } catch (error) {
    if (error.name === "AbortError" || error.status === 401) throw error;
    return { source: "missing", texts: {}, why: error.message.replace(/\.$/, "") };
  }
}

/** The answers of a row, best first; none in embedding jobs. */
export function answersOf(values) {
  if (Array.isArray(values.answers)) return values.answers;
  return "answer" in values ? [values] : [];
}

/** Where in its text a row stands that is a chunk of it; none in other rows. */
function chunkOf({ document_id: document, start, end }, { carried }) {
  const isChunk = document !== undefined && !carried.includes("document_id") && Number.isInteger(start);
  return isChunk ? [{ start, end, rank: 0, said: "the chunk" }] : [];
}

function showPassage(card, { source, texts, why }, answers, output, chunk) {
  const text = texts.context ?? texts.text;
  if (text === undefined) {
    const carry = output.roles.context ?? output.roles.text;
    card.replaceChildren(
      element("h2", {}, "Passage"),
      element("p", {}, `It is not at hand: ${why}.`),
      element("p", { className: "hint" }, "A job that carries it has it here: ", element("code", {}, `--set 'corpus.carry=[${carry}]'`)),
      ...answers.map((one) => answerFacts(one)),
    );
    return;
  }
  const spans = [...answers.map((one, rank) => ({ ...one, rank, label: answers.length > 1 ? String(rank + 1) : "" })), ...chunk];
  const passage = markedPassage(text, spans, output.kind === "embed" ? "The text" : "The passage with its answers");
  const from = source === "input" ? [element("p", { className: "hint" }, "Read from the input that the job had.")] : [];
  card.replaceChildren(element("h2", {}, output.kind === "embed" ? "Text" : "Passage"), passage, ...from);
  if (answers.length > 1) {
    passage.id = "marked";
    passage.classList.add("short");
    let chosen = 0;
    const list = candidateList(text, answers, {
      onpreview: (rank) => emphasise(passage, rank ?? chosen),
      onchoose: (rank) => {
        chosen = rank;
        list.choose(rank);
        emphasise(passage, rank);
      },
    });
    list.choose(0);
    card.append(element("h3", {}, "Answers"), list.element);
  }
  if (spans.length > 1) emphasise(passage, 0);
  else showFirstMark(passage);
}

/** Scrolls a passage that is in the page to its first mark. */
export function showFirstMark(passage) {
  const mark = passage.querySelector("mark");
  if (mark) passage.scrollTop += mark.getBoundingClientRect().top - passage.getBoundingClientRect().top - passage.clientHeight / 3;
}

function answerFacts(one) {
  const place = one.start === null || one.start === undefined ? "" : `characters ${number(one.start)} to ${number(one.end)}`;
  return element(
    "div",
    { className: "answer-facts" },
    element("p", { className: "best-answer", dir: "auto" }, one.answer === null ? element("span", { className: "absent" }, "no answer") : one.answer),
    element("p", { className: "score" }, `score ${score(one.score)}${place ? `, ${place}` : ""}`),
    meter(Number(one.score) || 0),
  );
}

/** A heavy column: what the modules of the service's page show, or the shape and the first numbers of a vector. */
function heavyView(name, found, answer, load) {
  if ("outline" in found) return outlineView(found.outline);
  if (name === "attribution") return attributionView(found.value);
  if (name === "tokens" && found.value) return tokensView(found.value);
  if (name === "attention" && found.items) return windowsView(found, answer, load);
  return found.value === null || found.items === 0 ? element("p", { className: "absent" }, "empty") : element("pre", {}, JSON.stringify(found.value, null, 1));
}

function outlineView({ shape, norm, first }) {
  const more = shape.reduce((product, size) => product * size, 1) > (first?.length ?? 0);
  const size = shape.length > 1 ? shape.map(number).join(" × ") : counted(shape[0] ?? 0, "number");
  const length = norm === undefined ? "" : `, of length ${norm.toFixed(3)}${shape.length > 1 ? " in the mean" : ""}`;
  return element("div", {}, element("p", {}, `${size}${length}`), first ? element("p", { className: "vector" }, `${first.join("  ")}${more ? "  …" : ""}`) : null);
}

function tokensView(tokens) {
  const few = tokens.length <= FEW;
  const list = element(
    "ol",
    { className: "token-list" },
    ...tokens.map(({ text, id, start, end }) => element("li", { title: `id ${id}, characters ${start} to ${end}` }, element("bdi", {}, text))),
  );
  return element("details", { open: few }, element("summary", {}, counted(tokens.length, "token")), list);
}

/** One window of the column `attention` at a time, since each may be megabytes. */
function windowsView(found, answer, load) {
  const place = element("div");
  const span = Number.isInteger(answer?.start) ? { start: answer.start, end: answer.end } : null;
  const show = ({ value }) => place.replaceChildren(attentionView(value, { answer: span }));
  const choice = select({ id: "window-choice" }, Array.from({ length: found.items }, (_, item) => [item, `Window ${item + 1} of ${found.items}`]));
  choice.addEventListener("change", async () => {
    place.replaceChildren(element("p", { className: "hint", role: "status" }, "Reading …"));
    try {
      show(await load(choice.value));
    } catch (error) {
      place.replaceChildren(element("p", { className: "refused" }, error.message));
    }
  });
  show(found);
  const picker = element("div", { className: "field" }, element("label", { for: choice.id, className: "hidden" }, "Window"), choice);
  return element("div", {}, found.items > 1 ? picker : null, place);
}
