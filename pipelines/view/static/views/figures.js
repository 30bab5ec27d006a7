// The job as a whole: counts, scores, what is in quarantine, and what ran.

import { element } from "../../dom.js";
import { counted, number } from "../../numbers.js";
import { bars, histogram } from "../bars.js";
import { lastOnly } from "../api.js";
import { facts } from "../facts.js";
import { chosenOutput, outputLinks } from "../outputs.js";
import { hash } from "../state.js";
import { StatusLine } from "../status.js";
import { bytes, percent } from "../words.js";

export const figures = {
  id: "figures",
  title: () => "Figures",
  offered: () => true,
  make: (app) => new FiguresView(app),
};

class FiguresView {
  #app;
  #which = element("div");
  #status;
  #content = element("div");
  #ask;

  constructor(app) {
    this.#app = app;
    this.#status = new StatusLine(app);
    this.#ask = lastOnly((error) => this.#status.refuse(error), app.left);
    this.element = element("div", { className: "view" }, element("div", { className: "heading" }, element("h1", {}, "Figures"), this.#which), this.#status.element, this.#content);
  }

  update(params) {
    const output = chosenOutput(this.#app.job, params);
    const links = outputLinks(this.#app.job, "figures", output);
    this.#which.replaceChildren(...(links ? [links] : []));
    this.#status.say("Reading the receipts …");
    this.#ask(async (signal) => {
      const found = await this.#app.api.get("figures", { output: output.number }, signal);
      this.#status.say(stateOf(output, found));
      this.#content.replaceChildren(...this.#cards(output, found));
    });
  }

  #cards(output, found) {
    const at = output.number ? { output: output.number } : {};
    const between = (least, most) => hash("rows", { ...at, least, most, answered: "true", sort: "score" });
    const reasons = Object.entries(found.reasons);
    return [
      tiles(output, found),
      element(
        "div",
        { className: "columns" },
        found.scores.length ? card("Scores of answers", element("p", { className: "hint" }, "A column leads to its rows."), histogram(found.scores, between)) : null,
        reasons.length ? card("Quarantine by reason", bars(reasons), element("p", {}, element("a", { href: hash("quarantine", at) }, "Look at the rows"))) : null,
        found.misfits.length ? card("Values that were not written as they are", element("ul", {}, ...found.misfits.map((one) => element("li", {}, one)))) : null,
        card("The job", jobFacts(output, found)),
        card("Its results depend on", settings(found)),
      ),
      this.#report(output),
    ];
  }

  #report(output) {
    if (!output.report) return null;
    const address = new URL("report", new URL(".", document.baseURI));
    if (output.number) address.searchParams.set("output", output.number);
    // A link carries no key.
    return element("p", {}, this.#app.job.keys ? `The whole report is ${output.url}/_report.html` : element("a", { href: address.href }, "The whole report of the job"));
  }
}

function stateOf(output, { report }) {
  const when = report.made ? `; its report is of ${moment(report.made)}` : "";
  return output.complete ? `The job is complete${when}.` : `The job is not complete: ${number(output.shards)} of about ${counted(output.expected_shards, "shard")} are committed${when}.`;
}

function tiles(output, found) {
  const { totals } = found.report;
  const share = (count) => (found.rows ? percent(count / found.rows) : "");
  const shown = [
    ["Rows", number(found.rows), `of ${counted(found.input_rows, "input row")}`],
    found.answered === null ? null : ["Answered", number(found.answered), share(found.answered)],
    found.answered === null ? null : ["Without an answer", number(found.rows - found.answered), share(found.rows - found.answered)],
    ["In quarantine", number(found.quarantined), found.input_rows ? percent(found.quarantined / found.input_rows) : ""],
    totals?.rows_per_second ? ["Rows a second", totals.rows_per_second.toFixed(1), "once it ran"] : null,
    totals?.tokens ? ["Tokens", number(totals.tokens), `in ${counted(totals.windows, "window")}`] : null,
  ].filter(Boolean);
  return element("dl", { className: "tiles" }, ...shown.map(([name, value, more]) => element("div", { className: "card" }, element("dt", {}, name), element("dd", { className: "large" }, value), element("dd", { className: "hint" }, more))));
}

function jobFacts(output, { manifest, report }) {
  const { subject, machines } = report;
  const entries = [
    ["output", output.url],
    ["job", `${output.kind} ${output.job}`],
    ["begun", moment(output.created)],
    ["model", subject?.model],
    ["fingerprint", manifest.fingerprint],
    ["runtime", manifest.backend],
    ["input", `${counted(manifest.files, "file")}, ${bytes(manifest.bytes)}: ${manifest.first_files.join(", ")}${manifest.files > manifest.first_files.length ? " …" : ""}`],
    ["rows of a shard", number(manifest.shard_rows)],
    ["machines", machines && `${counted(machines.nodes, "machine")}, ${counted(machines.actors, "model actor")}`],
    ["written by", `Spanmill ${manifest.spanmill}`],
  ];
  return facts(known(entries));
}

/** Settings that are not at their defaults, where the report says which; else all that change rows. */
function settings({ manifest, report }) {
  const changed = Object.entries(report.subject?.changed ?? {});
  const shown = changed.length ? changed : [...flat(manifest.results)];
  const said = changed.length ? "Keys of the config that are not at their defaults:" : "Keys of the config that change rows:";
  return element("div", {}, element("p", { className: "hint" }, said), facts(shown.map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)])));
}

function* flat(tree, before = "") {
  for (const [key, value] of Object.entries(tree)) {
    if (value && typeof value === "object" && !Array.isArray(value)) yield* flat(value, `${before}${key}.`);
    else yield [`${before}${key}`, value];
  }
}

function known(entries) {
  return entries.filter(([, value]) => value !== undefined && value !== null && value !== "");
}

function card(title, ...content) {
  return element("section", { className: "card" }, element("h2", {}, title), ...content);
}

function moment(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}
