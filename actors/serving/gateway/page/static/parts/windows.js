// The windows of a long passage: which part each holds, and which one an answer came from.

import { element, select } from "../dom.js";
import { number } from "../numbers.js";
import { placesOf } from "./tokens.js";

const AROUND = 3;
let made = 0;

/** The code points of the passage that a window holds. */
export function extent({ tokens }) {
  const own = tokens.filter(({ part }) => part === "passage");
  return { start: own[0]?.start ?? 0, end: own.at(-1)?.end ?? 0 };
}

/**
 * The place of the window that an answer came from: the one that gives its span the highest probability.
 * @param {Array<{tokens: Array, start: number[], end: number[]}>} windows with their probabilities
 * @param {{start: number|null, end: number|null}} answer without a start there is none, and the first window is given
 */
export function windowOf(windows, answer) {
  if (!Number.isInteger(answer?.start)) return 0;
  const scores = windows.map((window) => {
    const places = placesOf(window.tokens, answer);
    const whole = places.length && extent(window).start <= answer.start && answer.end <= extent(window).end;
    return whole ? window.start[places[0]] * window.end[places.at(-1)] : -1;
  });
  return scores.indexOf(Math.max(...scores));
}

/**
 * A choice of one window, and a picture of where each lies in the passage.
 * @param {string} text the passage
 * @param {Array<{tokens: Array}>} windows
 * @param {number} chosen the one that is chosen first
 * @param {number|null} ofAnswer the one that the answer came from
 * @param {function(number): void} onchoose
 * @returns {HTMLElement}
 */
export function windowPicker(text, windows, chosen, ofAnswer, onchoose) {
  const points = Array.from(text);
  const places = windows.map(extent);
  const id = `window-${(made += 1)}`;
  const named = places.map((place, index) => [index, nameOf(place, index, places.length, index === ofAnswer)]);
  const list = select({ id, onchange: () => choose(Number(list.value)) }, named);
  const step = (by, name, sign) =>
    element("button", { type: "button", className: "quiet small", "aria-label": name, onclick: () => choose(Number(list.value) + by) }, sign);
  const [before, after] = [step(-1, "The window before", "‹"), step(1, "The window after", "›")];
  const words = element("p", { className: "hint" });
  const bars = places.map((place, index) => bar(place, index, points.length, index === ofAnswer));
  const strip = element("div", { className: "strip", "aria-hidden": "true", onclick: (event) => barAt(event) }, ...bars);
  const barAt = ({ target }) => bars.includes(target) && choose(bars.indexOf(target));
  const show = (index) => {
    list.value = String(index);
    before.disabled = index === 0;
    after.disabled = index === places.length - 1;
    bars.forEach((one, at) => one.classList.toggle("chosen", at === index));
    words.replaceChildren(...held(points, places[index]));
  };
  const choose = (index) => {
    show(index);
    onchoose(index);
  };
  show(chosen);
  return element(
    "div",
    { className: "windows" },
    element("div", { className: "row" }, element("label", { for: id }, "Window"), before, list, after),
    strip,
    words,
  );
}

function nameOf({ start, end }, index, all, hasAnswer) {
  const characters = `characters ${number(start)}–${number(end)}`;
  return `${index + 1} of ${all}: ${characters}${hasAnswer ? ", here is the answer" : ""}`;
}

/** The first and the last words of what a window holds. */
function held(points, { start, end }) {
  const words = points.slice(start, end).join("").split(/\s+/).filter(Boolean);
  const quoted = (some) => element("q", {}, some.join(" "));
  if (words.length <= 2 * AROUND) return [quoted(words)];
  return ["From ", quoted(words.slice(0, AROUND)), " to ", quoted(words.slice(-AROUND))];
}

function bar({ start, end }, index, length, hasAnswer) {
  const made = element("span", { className: `${index % 2 ? "lower" : "upper"}${hasAnswer ? " has-answer" : ""}` });
  made.style.setProperty("--from", `${(100 * start) / length}%`);
  made.style.setProperty("--width", `${(100 * (end - start)) / length}%`);
  return made;
}
