// Elements, made from text alone: nothing that a client or a model writes is ever read as HTML.

/**
 * An element with properties and children.
 * @param {string} tag
 * @param {Object} properties of the element; `aria-…`, `data-…`, `for` and `role` become attributes, false leaves out
 * @param {...(Node|string|null)} children
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null) continue;
    if (/^(aria-|data-|for$|role$)/.test(name)) made.setAttribute(name, String(value));
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of a drawing with attributes and children. */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** A field below its label, with a hint that screen readers read too. */
export function field(label, input, hint = null) {
  const said = hint && element("p", { className: "hint", id: `${input.id}-hint` }, hint);
  if (said) input.setAttribute("aria-describedby", said.id);
  return element("div", { className: "field" }, element("label", { for: input.id }, label), input, said);
}

/** The lines of a text area that hold something. */
export function lines(area) {
  return area.value.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** Has a field say that it needs something, where it holds nothing but blanks; its form then says so before it asks. */
export function needs(area, message) {
  area.setCustomValidity(area.value.trim() ? "" : message);
}

/** Scrolls as little as shows the beginning of an element; on a phone results are below the form. */
export function reveal(shown) {
  const { top } = shown.getBoundingClientRect();
  if (top >= 0 && top < 0.8 * innerHeight) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  shown.scrollIntoView({ block: "center", behavior: still ? "auto" : "smooth" });
}

/**
 * A choice of one.
 * @param {Object} properties of the element, as `id` and `onchange`
 * @param {Array<[string|number, string|number]>} options the value and the text of each
 * @param {string|number|null} value the one that is chosen; null takes the first
 */
export function select(properties, options, value = null) {
  const made = element("select", properties, ...options.map(([key, text]) => element("option", { value: String(key) }, String(text))));
  if (value !== null) made.value = String(value);
  return made;
}

/** A bar that is filled as far as a score from 0 to 1 goes, and is broken where it goes beyond; the number stands beside it. */
export function meter(score) {
  const filled = element("span");
  filled.style.width = `${100 * Math.min(Math.max(score, 0), 1)}%`;
  // However small a score is, it is not none.
  if (score > 0) filled.style.minWidth = "4px";
  return element("span", { className: score > 1 ? "meter beyond" : "meter", "aria-hidden": "true" }, filled);
}
