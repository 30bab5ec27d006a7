// Two outputs row by row: how far they agree, and where they do not.

import { element } from "../../dom.js";
import { counted, number } from "../../numbers.js";
import { lastOnly } from "../api.js";
import { bars } from "../bars.js";
import { shownValue } from "../outputs.js";
import { SearchField } from "../search.js";
import { changed, hash } from "../state.js";
import { StatusLine } from "../status.js";
import { DataTable, Pager, pageOf, sortsList, turnsPages } from "../table.js";
import { percent } from "../words.js";

export const comparison = {
  id: "compare",
  title: () => "Compare",
  offered: (job) => job.outputs.length > 1,
  make: (app) => new ComparisonView(app),
};

/** What a pair is called, by how it agrees. */
export function agreements(job) {
  const [first, second] = sideNames(job);
  const { by } = job.comparison;
  return {
    equal: by === "answers" ? "the same answer" : "the same vector",
    place: "the same text elsewhere",
    different: by === "answers" ? "another answer" : "another vector",
    only_first: `only in ${first}`,
    only_second: `only in ${second}`,
  };
}

/** The names of both outputs, told apart where they are one. */
export function sideNames({ outputs: [first, second] }) {
  return first.name === second.name ? ["first", "second"] : [first.name, second.name];
}

class ComparisonView {
  #app;
  #params = new URLSearchParams();
  #summary = element("div");
  #search;
  #status;
  #table;
  #pager;
  #ask;

  constructor(app) {
    this.#app = app;
    this.#search = new SearchField(app, "Search in ids and answers");
    this.#status = new StatusLine(app);
    this.#ask = lastOnly((error) => this.#status.refuse(error), app.left);
    this.#table = new DataTable(
      "Rows of both outputs",
      sortsList(app),
      (pair) => hash("pair", changed(this.#params, { first: pair.first?.key, second: pair.second?.key, offset: "" })),
    );
    this.#pager = new Pager(turnsPages(app));
    this.element = element(
      "div",
      { className: "view" },
      element("h1", {}, "Compare"),
      element("div", { className: "card filters" }, this.#summary, this.#search.element),
      element("div", { className: "above" }, this.#status.element),
      this.#table.element,
      this.#pager.element,
    );
  }

  update(params) {
    this.#params = params;
    this.#search.show(params);
    if (!this.#app.job.comparison) {
      this.#status.say("One of the outputs has no rows yet.");
      return;
    }
    this.#showSummary();
    this.#ask((signal) => this.#fetch(signal));
  }

  #showSummary() {
    const { job } = this.#app;
    const { counts, in_both, agreement, mean_difference, by } = job.comparison;
    const chosen = this.#params.get("agreement") ?? "";
    const choose = (name) => this.#app.change({ agreement: name === chosen ? "" : name, offset: "" });
    const shown = Object.entries(counts).filter(([, count]) => count);
    const what = by === "answers" ? "the same answer at the same place" : "the same vector, up to a cosine similarity of 0.999";
    const mean = mean_difference === null ? "" : ` ${by === "answers" ? "Scores differ" : "One minus the cosine similarity is"} ${by === "answers" ? "by " : ""}${Number(mean_difference).toFixed(4)} in the mean.`;
    this.#summary.replaceChildren(
      element(
        "div",
        { className: "agreement" },
        element("p", { className: "large" }, agreement === null ? "–" : percent(agreement)),
        element("p", {}, `of the ${counted(in_both, "row")} in both outputs have ${what}.${mean}`),
      ),
      bars(shown, { chosen, onchoose: choose, labels: agreements(job) }),
    );
  }

  async #fetch(signal) {
    const { api, job } = this.#app;
    const [offset, limit] = pageOf(this.#params);
    const request = ["q", "agreement", "sort", "descending"].filter((name) => this.#params.get(name)).map((name) => [name, this.#params.get(name)]);
    const [{ pairs }, { count }] = await Promise.all([
      api.get("pairs", new URLSearchParams([...request, ["offset", offset], ["limit", limit]]), signal),
      api.get("pairs/count", new URLSearchParams(request), signal),
    ]);
    const order = { sort: this.#params.get("sort") ?? "", descending: this.#params.get("descending") === "true" };
    this.#table.show(columns(job, this.#params.get("q") ?? ""), pairs, order, counted(count, "row"));
    this.#pager.show(offset, limit, count, pairs.length);
    this.#status.say(`${counted(count, "row")}${request.some(([name]) => name === "q" || name === "agreement") ? " that fit" : ""}.`);
  }
}

function columns(job, searched) {
  const labels = agreements(job);
  const isOfAnswers = job.comparison.by === "answers";
  const sides = sideNames(job).map((name, side) => sideColumns(job, side, name, searched));
  return [
    { name: "id", label: "id", sortable: true, className: "of-text", cell: ({ id }) => shownValue(id, { searched }) },
    ...(isOfAnswers ? sides.flat() : []),
    { name: "difference", label: "difference", sortable: true, numeric: true, className: "of-number", cell: ({ difference }) => shownValue(difference === null ? null : Number(difference).toFixed(isOfAnswers ? 3 : 5), {}) },
    { name: "agreement", label: "agreement", sortable: false, className: "of-agreement", cell: ({ agreement }) => [element("span", { className: `agrees ${agreement}` }, labels[agreement])] },
  ];
}

function sideColumns(job, side, name, searched) {
  const key = ["first", "second"][side];
  const place = (column) => job.outputs[side].columns.findIndex((one) => one.name === column);
  const cell = (column, options) => (pair) => (pair[key] ? shownValue(pair[key].values[place(column)], options) : [element("span", { className: "absent" }, "no row")]);
  return [
    { name: `${key}-answer`, label: labelled("answer", name), sortable: false, className: "of-text", cell: cell("answer", { isAnswer: true, searched }) },
    { name: key, label: labelled("score", name), sortable: true, numeric: true, className: "of-score", cell: cell("score", { isScore: true }) },
  ];
}

/** "score in base", which breaks before the "in" alone. */
function labelled(what, name) {
  return element("span", {}, `${what} `, element("span", { className: "together" }, "in ", element("bdi", {}, name)));
}
