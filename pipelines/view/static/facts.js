// Names and what they are, a list for screen readers too.

import { element } from "../dom.js";

/** @param {Array<[string, *]>} entries */
export function facts(entries) {
  const shown = entries.flatMap(([name, value]) => [element("dt", {}, element("bdi", {}, name)), element("dd", { dir: "auto" }, ...written(value))]);
  return element("dl", { className: "facts" }, ...shown);
}

function written(value) {
  if (value === null || value === undefined) return [element("span", { className: "absent" }, "empty")];
  if (typeof value === "object") return [element("pre", {}, JSON.stringify(value, null, 1))];
  return [String(value)];
}
