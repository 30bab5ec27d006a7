// How the model read a passage for one question: windows, start and end probabilities, attention, attribution.

import { element, select } from "../dom.js";
import { attentionView } from "../parts/attention.js";
import { attributionView } from "../parts/attribution.js";
import { probabilityView } from "../parts/probabilities.js";
import { windowOf, windowPicker } from "../parts/windows.js";
import { requestCode } from "../request.js";
import { Reading } from "./reading.js";
import { tabs } from "./tabs.js";

/** The card below the answers. It asks for one question at a time, and only for what is looked at. */
export class InsideView {
  #service;
  #model;
  #notice;
  #asked = null;
  #readings = [];
  #question = 0;
  #rank = 0;
  #window = 0;
  #layer = null;
  #heads = null;
  #shown = 0;
  #turn = 0;
  #which = element("div", { className: "row of" });
  #status = element("p", { className: "status", role: "status" });
  #picker = element("div");
  #tabs;
  #code = requestCode("The request behind this", "inside-code", "behind code");

  constructor(service, model, notice) {
    this.#service = service;
    this.#model = model;
    this.#notice = notice;
    this.#tabs = tabs("How the model read the passage", [
      { id: "probabilities", title: "Start and end", show: () => this.#probabilities() },
      ...(this.#gives("attention") ? [{ id: "attention", title: "Attention", show: () => this.#attention() }] : []),
      ...(this.#gives("attribution") ? [{ id: "attribution", title: "Attribution", show: () => this.#attribution() }] : []),
    ]);
    const without = "This service gives no attention: its model runs in another runtime than torch. Where it is started with model.backend: torch, attention is shown here.";
    this.element = element(
      "section",
      { className: "card inside", hidden: true, tabIndex: -1, "aria-labelledby": "inside-heading" },
      element("h2", { id: "inside-heading" }, "How the model read the passage"),
      this.#which,
      this.#status,
      this.#picker,
      this.#tabs.element,
      this.#gives("attention") ? null : element("p", { className: "hint" }, without),
      element("details", { className: "behind" }, element("summary", {}, "The request behind this"), this.#code.element),
    );
  }

  #gives(column) {
    return this.#model.layers > 0 && this.#model.columns.includes(column);
  }

  /** Hides what was asked before. */
  clear() {
    this.#shown += 1;
    this.#empty();
    this.element.hidden = true;
  }

  /** Takes what was asked and answered, and shows its first question. */
  open(asked) {
    this.#asked = asked;
    this.#readings = asked.questions.map((question) => new Reading(this.#service, asked.passage, question, asked.parameters));
    const questions = asked.questions.map((text, place) => [place, `${place + 1}. ${text}`]);
    const list = select({ id: "inside-question", onchange: () => this.show(Number(list.value), 0) }, questions);
    this.#which.replaceChildren(element("label", { for: list.id }, "Question"), list);
    this.#which.hidden = asked.questions.length === 1;
    this.element.hidden = false;
    return this.show(0, 0);
  }

  /** Shows how the model read the passage for a question, with one candidate's tokens marked. */
  async show(question, rank) {
    const current = (this.#shown += 1);
    if (question !== this.#question) this.#empty();
    this.#question = question;
    this.#rank = rank;
    this.#which.querySelector("select").value = String(question);
    await this.#loading(async () => {
      const windows = await this.#reading.windows();
      if (current !== this.#shown) return;
      const ofAnswer = windowOf(windows, this.#answer);
      this.#window = ofAnswer;
      const picker = windowPicker(this.#asked.passage, windows, ofAnswer, this.#found ? ofAnswer : null, (window) => {
        this.#window = window;
        this.#tabs.show();
      });
      this.#picker.replaceChildren(...(windows.length > 1 ? [picker] : []));
      await this.#tabs.show();
    });
  }

  #empty() {
    this.#picker.replaceChildren();
    this.#tabs.clear();
  }

  get #reading() {
    return this.#readings[this.#question];
  }

  get #answer() {
    return this.#asked.answers[this.#question][this.#rank];
  }

  /** Whether the candidate is a span, and not that there is no answer. */
  get #found() {
    return Number.isInteger(this.#answer?.start);
  }

  async #probabilities() {
    this.#behind(this.#reading.forWindows);
    return this.#loading(async () => {
      const windows = await this.#reading.windows();
      return probabilityView(windows[this.#window], this.#found ? this.#answer : null);
    });
  }

  async #attention() {
    const reading = this.#reading;
    const place = this.#window;
    const layers = Array.from({ length: this.#model.layers }, (_, layer) => layer + 1);
    const load = async (some) => {
      const window = await reading.attention(place, some);
      this.#behind(reading.forAttention(some));
      return window;
    };
    const onchoose = (layer, heads) => {
      this.#layer = layer;
      this.#heads = heads;
    };
    const layer = this.#layer ?? layers.at(-1);
    const options = { answer: this.#found ? this.#answer : null, layers, layer, heads: this.#heads, load, onchoose };
    return this.#loading(async () => attentionView(await load([layer]), options));
  }

  async #attribution() {
    this.#behind(this.#reading.forAttribution);
    const [best] = this.#asked.answers[this.#question];
    const isOther = this.#rank > 0;
    return this.#loading(async () => {
      const listed = await this.#reading.attribution();
      return isOther ? ofBestAlone(best, listed) : attributionView(listed);
    });
  }

  #behind(body) {
    this.#code.show(this.#service.url("answer"), Boolean(this.#service.key), body);
  }

  /** Does what asks the service, and says so; what is refused is said instead. Only the latest of several has a say. */
  async #loading(work) {
    const turn = (this.#turn += 1);
    this.#say("Asking …");
    try {
      return await work();
    } catch (refused) {
      if (turn === this.#turn) this.#say(refused.message, "status refused");
      if (refused.status === 401) this.#notice.refuse(refused);
      return element("span");
    } finally {
      if (turn === this.#turn && this.#status.className === "status") this.#say("");
    }
  }

  #say(text, className = "status") {
    this.#status.className = className;
    this.#status.textContent = text;
    this.#status.hidden = !text;
  }
}

/** The attribution of the best answer where another candidate is chosen: whose it is, is said. */
function ofBestAlone(best, listed) {
  const alone = "The service gives the attribution of the best answer alone, ";
  if (best.answer === null) return element("p", {}, `${alone}and the best here is that there is no answer.`);
  return element("div", {}, element("p", {}, `${alone}which is `, element("strong", {}, element("bdi", {}, best.answer)), "."), attributionView(listed));
}
