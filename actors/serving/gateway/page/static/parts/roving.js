// Lists of many tokens that take one stop of the Tab key: within them arrow keys, Home and End move the focus.

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/**
 * Has the arrow keys move among the options of a list, of which one can be reached by Tab.
 * @param {Element} list its options have the role `option`; they may change
 * @param {function(string, Element): boolean} elsewhere has taken care of a key at an option; the list then does nothing
 */
export function roving(list, elsewhere = () => false) {
  const options = () => [...list.querySelectorAll("[role=option]")];
  list.addEventListener("keydown", (event) => {
    const at = event.target.closest("[role=option]");
    if (!at || event.ctrlKey || event.altKey || event.metaKey) return;
    if (elsewhere(event.key, at)) return event.preventDefault();
    const all = options();
    const place = all.indexOf(at);
    const next = { Home: 0, End: all.length - 1 }[event.key] ?? place + (STEPS[event.key] ?? NaN);
    if (Number.isNaN(next)) return;
    event.preventDefault();
    focusOption(list, all[Math.min(Math.max(next, 0), all.length - 1)]);
  });
  list.addEventListener("focusin", (event) => {
    const at = event.target.closest("[role=option]");
    if (at) reachable(list, at);
  });
}

/** Moves the focus to an option of a list, and the list's stop of the Tab key with it. */
export function focusOption(list, option) {
  reachable(list, option);
  option?.focus();
}

function reachable(list, option) {
  for (const one of list.querySelectorAll("[role=option][tabindex='0']")) one.tabIndex = -1;
  if (option) option.tabIndex = 0;
}
