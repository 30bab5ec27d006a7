// All layers and heads of a window at once, as in BertViz's model view: a small picture of each, to choose from.

import { drawn, element } from "../dom.js";
import { focusOption, roving } from "./roving.js";
import { hueOf, linksOf } from "./weights.js";

const WIDTH = 20;
const STEPS_OF_OPACITY = 4;
const FAINTEST = 0.05;
const MOST_LINES = 400;
const FEW = 30;
const DIMMEST = 0.25;
const LEAST_OPACITY = 0.7;

/**
 * A grid of pictures, a row for each layer and a column for each head. In each, the window's tokens stand from top to bottom on
 * both sides, with lines between those that attend and those that they attend to.
 * @param {Object} window with all layers that are to be shown
 * @param {number[]} from places of the tokens that attend
 * @param {function(number, number): void} onchoose takes a layer and a head
 * @returns {{element: HTMLElement, mark: function(number, Set<number>): void}} `mark` shows which layer and heads are chosen
 */
export function thumbnails(window, from, onchoose) {
  const cells = [];
  const grid = element("div", { className: "thumbnails", role: "listbox", "aria-label": "Layers and heads", "aria-multiselectable": "true" });
  grid.style.setProperty("--heads", window.heads);
  for (const layer of window.layers) {
    grid.append(element("span", { className: "layer", "aria-hidden": "true" }, String(layer)));
    for (let head = 0; head < window.heads; head += 1) {
      const cell = thumbnail(window, layer, head, from);
      cells.push(cell);
      grid.append(cell.element);
    }
  }
  const choose = (target) => {
    const chosen = cells.find((cell) => cell.element === target.closest("[role=option]"));
    if (chosen) onchoose(chosen.layer, chosen.head);
    return Boolean(chosen);
  };
  grid.addEventListener("click", ({ target }) => choose(target));
  roving(grid, (key, at) => {
    if (key === "Enter" || key === " ") return choose(at);
    const rows = { ArrowUp: -1, ArrowDown: 1 }[key];
    if (!rows) return false;
    focusOption(grid, cells[cells.findIndex((cell) => cell.element === at) + rows * window.heads]?.element ?? at);
    return true;
  });
  const mark = (layer, heads) => {
    for (const cell of cells) {
      cell.element.setAttribute("aria-selected", String(cell.layer === layer && heads.has(cell.head)));
      cell.element.tabIndex = -1;
    }
    const first = cells.find((cell) => cell.layer === layer && heads.has(cell.head)) ?? cells[0];
    first.element.tabIndex = 0;
  };
  return { element: grid, mark };
}

function thumbnail(window, layer, head, from) {
  const size = window.tokens.length;
  const links = linksOf(window, layer, [head], from, FAINTEST);
  // So many that they would only cover each other: the heaviest are the picture.
  const shown = links.length > MOST_LINES ? links.sort((a, b) => b.weight - a.weight).slice(0, MOST_LINES) : links;
  const paths = Array.from({ length: STEPS_OF_OPACITY }, () => "");
  for (const { from: left, to: right, weight } of shown) {
    paths[Math.min(Math.floor(weight * STEPS_OF_OPACITY), STEPS_OF_OPACITY - 1)] += `M0 ${left + 0.5}L${WIDTH} ${right + 0.5}`;
  }
  const dimmed = Math.min(Math.max(FEW / shown.length, DIMMEST), 1);
  const opacity = (step) => dimmed * (LEAST_OPACITY + ((1 - LEAST_OPACITY) * step) / (STEPS_OF_OPACITY - 1));
  const lines = paths.map((path, step) => path && drawn("path", { d: path, "stroke-opacity": opacity(step) })).filter(Boolean);
  const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${size}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...lines);
  const name = `Layer ${layer}, head ${head + 1}`;
  const cell = element("div", { role: "option", tabIndex: -1, title: name, "aria-label": name }, picture);
  cell.style.setProperty("--hue", hueOf(head, window.heads));
  return { element: cell, layer, head };
}
