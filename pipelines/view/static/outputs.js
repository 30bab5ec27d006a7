// Which of two outputs is shown, and how columns of one are listed.

import { element, meter } from "../dom.js";
import { changed, hash } from "./state.js";
import { found, score } from "./words.js";

const NUMBERS = new Set(["start", "end"]);

/** The output that the address names, with its number. */
export function chosenOutput(job, params) {
  const asked = Math.trunc(Number(params.get("output"))) || 0;
  const number = Math.min(Math.max(asked, 0), job.outputs.length - 1);
  return { ...job.outputs[number], number };
}

/** Links to the same view of each output, where there are two. */
export function outputLinks(job, view, output) {
  if (job.outputs.length < 2) return null;
  const links = job.outputs.map((one, number) =>
    element("li", {}, element("a", { href: hash(view, number ? { output: number } : {}), title: one.url, "aria-current": number === output.number ? "true" : false }, one.name)),
  );
  return element("nav", { className: "which", "aria-label": "Outputs" }, element("ul", {}, ...links));
}

/** Names of the columns that are listed unless the address says others: neither offsets nor the passage itself. */
export function usualColumns(output) {
  const passages = new Set(["context", "text"].map((role) => output.roles[role]));
  return output.columns.map(({ name }) => name).filter((name) => !NUMBERS.has(name) && !(passages.has(name) && output.columns.length > 2));
}

/** Columns of the table: the id, the question and its answer, and then the others in the order of the output. */
export function tableColumns(output, names, searched) {
  const first = ["id", output.roles.question, "answer", "score"];
  const rank = ({ name }) => (first.includes(name) ? first.indexOf(name) : first.length);
  const placed = output.columns.map((column, place) => ({ column, place })).filter(({ column }) => names.includes(column.name));
  placed.sort((a, b) => rank(a.column) - rank(b.column) || a.place - b.place);
  const columns = placed.map(({ column, place }) => tableColumn(column, place, searched));
  // What was looked for may stand in a column that is not shown: that is said in the first one behind the id.
  const [, beside] = columns;
  const cell = beside?.cell;
  if (beside) beside.cell = (row) => [...cell(row), ...elsewhere(row.found, names, searched)];
  return columns;
}

function elsewhere(matches, names, searched) {
  const places = Object.entries(matches ?? {});
  if (!places.length || places.some(([name]) => names.includes(name))) return [];
  const [name, text] = places[0];
  return [element("span", { className: "elsewhere" }, `${name}: … `, element("bdi", {}, ...found(wholeWords(text, searched), searched)), " …")];
}

/** An excerpt without the pieces of words at its ends; what was searched for stays, even within a word. */
function wholeWords(text, searched) {
  const at = text.toLowerCase().indexOf(searched.toLowerCase());
  if (at < 0) return text;
  const end = at + searched.length;
  const from = text.slice(0, at).search(/\s/) + 1;
  const behind = text.slice(end).search(/\s\S*$/);
  return text.slice(from, behind < 0 ? text.length : end + behind);
}

function tableColumn({ name, kind, sortable }, place, searched) {
  const isScore = name === "score" || name === "null_score";
  return {
    name,
    label: name,
    sortable,
    numeric: kind === "number",
    className: isScore ? "of-score" : `of-${kind}`,
    cell: ({ values }) => shownValue(values[place], { isScore, isAnswer: name === "answer", searched }),
  };
}

/** A value of the list as nodes. */
export function shownValue(value, { isScore = false, isAnswer = false, searched = "" }) {
  if (value === null) return [element("span", { className: "absent" }, isAnswer ? "no answer" : "empty")];
  if (isScore && typeof value === "number") return [score(value), meter(value)];
  return [element("bdi", { className: isAnswer ? "answer-text" : "" }, ...found(String(value), searched))];
}

/** The address of a row, with the list that it was opened from. */
export function rowAddress(output, params, place, key) {
  const at = changed(params, { key, at: place });
  return hash("row", at);
}
