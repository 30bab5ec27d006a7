// What is shown stands in the address behind #, as `#rows?q=harbour&sort=score`, so that a link shows the same.

/** The view's name and its parameters. */
export function read() {
  const [view, query = ""] = location.hash.slice(1).split(/\?(.*)/s);
  return { view: view || "rows", params: new URLSearchParams(query) };
}

/** The address of a view; parameters that are empty are left out. */
export function hash(view, params = {}) {
  const kept = new URLSearchParams();
  for (const [name, value] of params instanceof URLSearchParams ? params : Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined && one !== false) kept.append(name, String(one));
    }
  }
  const query = kept.toString();
  return `#${view}${query ? `?${query}` : ""}`;
}

/** The parameters with some of them changed. */
export function changed(params, changes) {
  const made = new URLSearchParams(params);
  for (const [name, value] of Object.entries(changes)) {
    made.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== null && one !== undefined && one !== false) made.append(name, String(one));
    }
  }
  return made;
}
