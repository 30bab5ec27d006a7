// Attention of a window as in BertViz's head view: who looks at whom, by layer and by head.

import { element } from "../dom.js";
import { headView } from "./headview.js";
import { placesOf, rounded, shownToken } from "./tokens.js";
import { hueOf, linksOf } from "./weights.js";

const MOST_ROWS = 200;
let made = 0;

/**
 * Tokens in two columns, and a line from each to those that it looks at: the heavier, the more opaque, in the colour of its
 * head. Layer, heads, the tokens that look and the least weight that is drawn can be chosen.
 * @param {Object} window one window of the column `attention`, as JSON
 * @param {Object} options
 * @param {{start: number, end: number}|null} options.answer code points of the passage: at first its tokens alone look
 * @param {number[]} options.layers those to choose from; by default those that the window has
 * @param {number} options.layer the one that is shown first
 * @param {function(number): Promise<Object>} options.load gives the window with a layer that it lacks
 * @returns {HTMLElement}
 */
export function attentionView(window, options = {}) {
  return new AttentionView(window, options).element;
}

class AttentionView {
  #window;
  #load;
  #sources;
  #layer;
  #heads;
  #id = `attention-${(made += 1)}`;
  #layers;
  #from;
  #least;
  #leastShown = element("output");
  #chips;
  #message = element("p", { className: "status", role: "status" });
  #place = element("div");
  #table = element("tbody");
  #caption = element("caption");
  #details;
  #links = [];

  constructor(window, { answer = null, layers = window.layers, layer = window.layers.at(-1), load = null }) {
    this.#window = window;
    this.#load = load;
    this.#layer = layer;
    this.#heads = new Set(Array.from({ length: window.heads }, (_, head) => head));
    this.#sources = sourcesOf(window.tokens, answer);
    this.#layers = select(layers.map((one) => [one, `${one}`]), layer, () => this.#chooseLayer(Number(this.#layers.value)));
    this.#from = select(this.#sources.map(({ name }, place) => [place, name]), 0, () => this.#draw());
    this.#least = element("input", { type: "range", min: 0, max: 0.5, step: 0.01, value: "0.05", oninput: () => this.#draw() });
    this.#chips = Array.from({ length: window.heads }, (_, head) => this.#chip(head));
    this.#details = this.#asTable();
    this.element = element("div", { className: "attention" }, this.#controls(), this.#message, this.#place, this.#details);
    this.#draw();
  }

  #controls() {
    const all = (on) => () => {
      this.#heads = new Set(on ? this.#chips.keys() : []);
      this.#draw();
    };
    const button = (text, onclick) => element("button", { type: "button", className: "quiet small", onclick }, text);
    const few = this.#window.heads > 1 ? [button("All", all(true)), button("None", all(false))] : [];
    this.#leastShown.className = "score";
    return element(
      "div",
      { className: "controls" },
      named(`${this.#id}-layer`, "Layer", this.#layers),
      named(`${this.#id}-from`, "Who looks", this.#from),
      named(`${this.#id}-least`, "Weights from", this.#least, this.#leastShown),
      element(
        "fieldset",
        { className: "heads" },
        element("legend", {}, "Heads"),
        element("div", { className: "row" }, ...this.#chips, ...few),
      ),
    );
  }

  #chip(head) {
    const toggle = () => {
      if (!this.#heads.delete(head)) this.#heads.add(head);
      this.#draw();
    };
    const chip = element(
      "button",
      { type: "button", className: "chip", onclick: toggle, ondblclick: () => this.#only(head), title: "Twice: this head alone" },
      element("span", { className: "hidden" }, "Head "),
      String(head + 1),
    );
    chip.style.setProperty("--hue", hueOf(head, this.#window.heads));
    return chip;
  }

  #only(head) {
    this.#heads = new Set([head]);
    this.#draw();
  }

  async #chooseLayer(layer) {
    this.#message.className = "status";
    this.#message.textContent = "";
    if (!this.#window.layers.includes(layer)) {
      this.#message.textContent = `Asking for layer ${layer} …`;
      try {
        const loaded = await this.#load(layer);
        if (Number(this.#layers.value) !== layer) return;
        this.#window = loaded;
        this.#message.textContent = "";
      } catch (refused) {
        this.#message.className = "status refused";
        this.#message.textContent = refused.message;
        this.#layers.value = String(this.#layer);
        return;
      }
    }
    this.#layer = layer;
    this.#draw();
  }

  #draw() {
    const least = this.#least.valueAsNumber;
    const source = this.#sources[Number(this.#from.value)];
    this.#leastShown.textContent = rounded(least);
    this.#chips.forEach((chip, head) => chip.setAttribute("aria-pressed", String(this.#heads.has(head))));
    const links = linksOf(this.#window, this.#layer, this.#heads, source.places, least);
    this.#place.replaceChildren(
      headView({ tokens: this.#window.tokens, from: source.places, everyTarget: source.every, links, heads: this.#window.heads, chosen: this.#heads.size }),
    );
    this.#links = links;
    this.#fillTable();
  }

  #asTable() {
    const heads = ["From", "To", "Head", "Weight"].map((text) => element("th", { scope: "col" }, text));
    const details = element(
      "details",
      { className: "as-table", ontoggle: () => this.#fillTable() },
      element("summary", {}, "As a table"),
      element(
        "div",
        { className: "scrolling", tabIndex: 0, role: "region", "aria-label": "The weights that are drawn" },
        element("table", {}, this.#caption, element("thead", {}, element("tr", {}, ...heads)), this.#table),
      ),
    );
    return details;
  }

  #fillTable() {
    if (!this.#details?.open) return;
    const { tokens } = this.#window;
    const heaviest = [...this.#links].sort((a, b) => b.weight - a.weight).slice(0, MOST_ROWS);
    const all = heaviest.length === this.#links.length;
    this.#caption.textContent = all ? `Layer ${this.#layer}, heaviest first` : `Layer ${this.#layer}, the ${MOST_ROWS} heaviest of ${this.#links.length}`;
    this.#table.replaceChildren(
      ...heaviest.map(({ from, to, head, weight }) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, element("bdi", {}, shownToken(tokens[from]))),
          element("td", {}, element("bdi", {}, shownToken(tokens[to])), ` (${tokens[to].part})`),
          element("td", {}, String(head + 1)),
          element("td", {}, weight.toFixed(3)),
        ),
      ),
    );
  }
}

/** Whose looking can be shown: the answer's tokens first, where there is an answer in this window. */
function sourcesOf(tokens, answer) {
  const of = (part) => tokens.map((_, place) => place).filter((place) => tokens[place].part === part);
  const sources = [
    { name: "the answer", places: answer ? placesOf(tokens, answer) : [] },
    { name: "the question", places: of("question") },
    { name: "every token", places: [...tokens.keys()], every: true },
  ];
  return sources.filter(({ places }) => places.length);
}

function select(options, value, onchange) {
  const made = element("select", { onchange }, ...options.map(([key, text]) => element("option", { value: String(key) }, text)));
  made.value = String(value);
  return made;
}

function named(id, label, input, ...more) {
  input.id = id;
  return element("div", { className: "control" }, element("label", { for: id }, label), input, ...more);
}
