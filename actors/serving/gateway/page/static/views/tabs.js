// Tabs, of which one panel is shown at a time, as WAI-ARIA's pattern has them.

import { element } from "../dom.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

/**
 * Tabs whose panels are made when they are looked at.
 * @param {string} name of the list of tabs, for screen readers
 * @param {Array<{id: string, title: string, show: function(): Promise<Element>}>} all
 * @returns {{element: Element, show: function(): Promise<void>, clear: function(): void}} `show` makes the panel of the
 *     chosen tab anew, `clear` empties it
 */
export function tabs(name, all) {
  let chosen = 0;
  let shown = 0;
  const buttons = all.map(({ id, title }, place) =>
    element("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": "panel", onclick: () => choose(place) }, title),
  );
  const panel = element("div", { id: "panel", role: "tabpanel", tabIndex: 0 });
  const show = async () => {
    const current = (shown += 1);
    buttons.forEach((button, place) => {
      button.setAttribute("aria-selected", String(place === chosen));
      button.tabIndex = place === chosen ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", buttons[chosen].id);
    panel.setAttribute("aria-busy", "true");
    const made = await all[chosen].show();
    if (current !== shown) return;
    panel.setAttribute("aria-busy", "false");
    panel.replaceChildren(made);
  };
  const choose = (place) => {
    chosen = place;
    return show();
  };
  const list = element("div", { role: "tablist", "aria-label": name }, ...buttons);
  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const { key, target } = event;
    const next = { Home: 0, End: all.length - 1 }[key] ?? (buttons.indexOf(target) + STEPS[key] + all.length) % all.length;
    if (Number.isNaN(next)) return;
    event.preventDefault();
    buttons[next].focus();
    choose(next);
  });
  const clear = () => {
    shown += 1;
    panel.replaceChildren();
  };
  return { element: element("div", {}, list, panel), show, clear };
}
