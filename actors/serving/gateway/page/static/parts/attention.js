// Attention of a window as in BertViz's head view: which tokens attend to which, by layer and by head.

import { element, select } from "../dom.js";
import { headView } from "./headview.js";
import { thumbnails } from "./thumbnails.js";
import { placesOf, rounded, shownToken } from "./tokens.js";
import { hueOf, linksOf } from "./weights.js";

const MOST_ROWS = 200;
const LEAST = 0.05;
let made = 0;

/**
 * Tokens in two columns, and a line from each to those that it attends to: the heavier, the more opaque, in the colour of its
 * head. Layer, heads, the tokens that attend and the least weight that is drawn can be chosen.
 * @param {Object} window one window of the column `attention`, as JSON
 * @param {Object} options
 * @param {{start: number, end: number}|null} options.answer code points of the passage: at first its tokens alone are shown on the left
 * @param {number[]} options.layers those to choose from; by default those that the window has
 * @param {number} options.layer the one that is shown first
 * @param {number[]|null} options.heads those that are shown first, 0 is the first; null for all
 * @param {function(number[]): Promise<Object>} options.load gives the window with layers that it lacks
 * @param {function(number, number[]): void} options.onchoose hears of another layer or other heads
 * @returns {HTMLElement}
 */
export function attentionView(window, options = {}) {
  return new AttentionView(window, options).element;
}

class AttentionView {
  #window;
  #options;
  #sources;
  #layer;
  #heads;
  #links = [];
  #turn = 0;
  #id = `attention-${(made += 1)}`;
  #layers;
  #from;
  #least = element("input", { type: "range", min: 0, max: 0.5, step: 0.01, value: String(LEAST), oninput: () => this.#draw() });
  #leastShown = element("output", { className: "score" });
  #chips;
  #message = element("p", { className: "status", role: "status" });
  #lines = element("div", { className: "lines-place" });
  #all = element("div", { className: "all-place" });
  #thumbnails = null;
  #table = table(() => this.#fillTable());

  constructor(window, { answer = null, layers = window.layers, layer = window.layers.at(-1), heads = null, load, onchoose = () => {} }) {
    this.#window = window;
    this.#options = { layers, load, onchoose };
    this.#layer = layer;
    this.#heads = new Set(heads ?? Array(window.heads).keys());
    this.#sources = sourcesOf(window.tokens, answer);
    this.#layers = select({ onchange: () => this.#choose(Number(this.#layers.value), this.#heads) }, layers.map((one) => [one, one]), layer);
    this.#from = select({ onchange: () => this.#drawAll() }, this.#sources.map(({ name }, place) => [place, name]));
    this.#chips = Array.from({ length: window.heads }, (_, head) => this.#chip(head));
    this.element = element(
      "div",
      { className: "attention" },
      this.#controls(),
      this.#message,
      element("div", { className: "pictures" }, this.#lines, this.#all),
      this.#table.element,
    );
    this.#drawAll();
  }

  #controls() {
    const choose = (heads) => () => this.#choose(this.#layer, new Set(heads));
    const button = (text, onclick) => element("button", { type: "button", className: "quiet small", onclick }, text);
    const few = this.#window.heads > 1 ? [button("All", choose(this.#chips.keys())), button("None", choose([]))] : [];
    return element(
      "div",
      { className: "controls" },
      control(`${this.#id}-layer`, "Layer", this.#layers),
      control(`${this.#id}-from`, "Attention from", this.#from),
      control(`${this.#id}-least`, "Least weight of a head", this.#least, this.#leastShown),
      element(
        "fieldset",
        { className: "heads" },
        element("legend", {}, "Heads"),
        element("div", { className: "row" }, ...this.#chips, ...few),
      ),
    );
  }

  #chip(head) {
    const toggle = () => this.#choose(this.#layer, this.#heads.has(head) ? [...this.#heads].filter((one) => one !== head) : [...this.#heads, head]);
    const alone = () => this.#choose(this.#layer, [head]);
    const chip = element(
      "button",
      { type: "button", className: "chip", onclick: toggle, ondblclick: alone, title: "Click twice for this head alone" },
      element("span", { className: "hidden" }, "Head "),
      String(head + 1),
    );
    chip.style.setProperty("--hue", hueOf(head, this.#window.heads));
    return chip;
  }

  async #choose(layer, heads) {
    this.#layers.value = String(layer);
    if (!this.#window.layers.includes(layer)) {
      const window = await this.#loaded([layer], `layer ${layer}`);
      // Another layer was chosen meanwhile.
      if (Number(this.#layers.value) !== layer) return;
      if (!this.#window.layers.includes(layer)) {
        if (window === null) {
          this.#layers.value = String(this.#layer);
          return;
        }
        this.#window = window;
      }
    }
    this.#layer = layer;
    this.#heads = new Set(heads);
    this.#options.onchoose(layer, [...heads]);
    this.#draw();
  }

  /** The window with layers that it lacks; null where they are refused. Only the latest of several requests says how it goes. */
  async #loaded(layers, named) {
    const turn = (this.#turn += 1);
    const say = (text, className) => {
      if (turn === this.#turn) Object.assign(this.#message, { textContent: text, className });
    };
    say(`Asking for ${named} …`, "status");
    try {
      const window = await this.#options.load(layers);
      say("", "status");
      return window;
    } catch (refused) {
      say(refused.message, "status refused");
      return null;
    }
  }

  get #source() {
    return this.#sources[Number(this.#from.value)];
  }

  #draw() {
    const least = this.#least.valueAsNumber;
    this.#leastShown.textContent = rounded(least);
    this.#chips.forEach((chip, head) => chip.setAttribute("aria-pressed", String(this.#heads.has(head))));
    this.#thumbnails?.mark(this.#layer, this.#heads);
    const { tokens, heads } = this.#window;
    const { places, every = false } = this.#source;
    this.#links = linksOf(this.#window, this.#layer, this.#heads, places, least);
    const [window, layer, chosen] = [this.#window, this.#layer, this.#heads];
    const linksAt = (side, place) =>
      linksOf(window, layer, chosen, side === "from" ? [place] : places).filter((link) => link[side] === place);
    const shown = { tokens, from: places, everyTarget: every, links: this.#links, linksAt, heads, chosen: chosen.size };
    this.#lines.replaceChildren(headView(shown));
    this.#fillTable();
  }

  /** The lines, and the pictures of all layers, where these are there. */
  #drawAll() {
    const { layers } = this.#options;
    this.#thumbnails = null;
    if (layers.length * this.#window.heads > 1) {
      const whole = layers.every((layer) => this.#window.layers.includes(layer));
      this.#all.replaceChildren(...(whole ? this.#pictures() : [this.#offer()]));
    }
    this.#draw();
  }

  #offer() {
    const show = async () => {
      const window = await this.#loaded(this.#options.layers, "all layers");
      if (window === null) return;
      this.#window = window;
      this.#drawAll();
    };
    return element("button", { type: "button", className: "quiet small", onclick: show }, "Show all layers and heads");
  }

  #pictures() {
    this.#thumbnails = thumbnails(this.#window, this.#source.places, (layer, head) => this.#choose(layer, [head]));
    const hint = "A row for each layer, a column for each head; choose one to see it alone.";
    return [element("h3", {}, "All layers and heads"), element("p", { className: "hint" }, hint), this.#thumbnails.element];
  }

  #fillTable() {
    const { tokens } = this.#window;
    const heaviest = () => [...this.#links].sort((a, b) => b.weight - a.weight).slice(0, MOST_ROWS);
    const most = this.#links.length > MOST_ROWS ? `the ${MOST_ROWS} heaviest of ${this.#links.length}` : "heaviest first";
    this.#table.fill(`Layer ${this.#layer}, ${most}`, heaviest, tokens);
  }
}

/** The weights that are drawn as a table, whose rows are made while it is open. */
function table(ontoggle) {
  const caption = element("caption");
  const body = element("tbody");
  const heads = ["From", "To", "Head", "Weight"].map((text) => element("th", { scope: "col" }, text));
  const details = element(
    "details",
    { className: "as-table", ontoggle },
    element("summary", {}, "As a table"),
    element(
      "div",
      { className: "scrolling", tabIndex: 0, role: "region", "aria-label": "The weights that are drawn" },
      element("table", {}, caption, element("thead", {}, element("tr", {}, ...heads)), body),
    ),
  );
  const fill = (title, links, tokens) => {
    if (!details.open) return;
    caption.textContent = title;
    body.replaceChildren(...links().map((link) => row(link, tokens)));
  };
  return { element: details, fill };
}

function row({ from, to, head, weight }, tokens) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, element("bdi", {}, shownToken(tokens[from]))),
    element("td", {}, element("bdi", {}, shownToken(tokens[to])), ` (${tokens[to].part})`),
    element("td", {}, String(head + 1)),
    element("td", {}, weight.toFixed(3)),
  );
}

/** Whose attention can be shown: the answer's tokens first, where there is an answer in this window. */
function sourcesOf(tokens, answer) {
  const of = (part) => [...tokens.keys()].filter((place) => tokens[place].part === part);
  const sources = [
    { name: "the answer", places: answer ? placesOf(tokens, answer) : [] },
    { name: "the question", places: of("question") },
    { name: "every token", places: [...tokens.keys()], every: true },
  ];
  return sources.filter(({ places }) => places.length);
}

function control(id, label, input, ...more) {
  input.id = id;
  return element("div", { className: "control" }, element("label", { for: id }, label), input, ...more);
}
