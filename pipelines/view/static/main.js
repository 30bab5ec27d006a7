// The page: asks what is opened, offers the views of it, and keeps the key.

import { element } from "../dom.js";
import { counted, number } from "../numbers.js";
import { Api, lastOnly } from "./api.js";
import { changed, hash, read } from "./state.js";
import { comparison } from "./views/comparison.js";
import { figures } from "./views/figures.js";
import { pair } from "./views/pair.js";
import { quarantine } from "./views/quarantine.js";
import { row } from "./views/row.js";
import { rows } from "./views/rows.js";

/**
 * The views. A view is an object of its own module: `id` (in the address), `title(job)`, `offered(job)` whether it has a
 * link, `within` the id of the view that its link is then, and `make(app)`, which gives an element, and `update(params)`.
 */
const VIEWS = [rows, comparison, quarantine, figures, row, pair];
const LOOK_AGAIN_MS = 5000;

const api = new Api();
const place = document.getElementById("view");
const links = document.getElementById("views");
const notice = document.getElementById("notice");
const arrived = document.getElementById("arrived");
const keyForm = document.getElementById("key");
const keyField = document.getElementById("key-field");
const keyForget = document.getElementById("key-forget");

const app = {
  api,
  job: null,
  /** Is aborted when the view that is shown is left, and with it what that asks for. */
  left: new AbortController().signal,
  /** Changes parameters of the view; what is typed replaces the address, so that Back leaves the view. */
  change(changes, replaces = false) {
    const { view, params } = read();
    const to = hash(view, changed(params, changes));
    if (replaces) history.replaceState(null, "", to);
    else history.pushState(null, "", to);
    shown?.update(read().params);
  },
  refused(error) {
    refuse(error);
  },
};
let shown = null;
let shownId = "";
let shards = 0;
let leaving = null;
const asking = lastOnly(refuse);

function start() {
  return asking(async (signal) => {
    app.job = await api.get("job", {}, signal);
    notice.textContent = "";
    keyForm.hidden = true;
    keyForget.hidden = !api.hasKey;
    shards = shardsOf(app.job);
    showHeader();
    show();
    await lookAgain(signal);
  });
}

/** Leaves the view that is shown; what the next one asks for is broken off when that is left. */
function leave() {
  leaving?.abort();
  leaving = new AbortController();
  app.left = leaving.signal;
  shown = null;
  shownId = "";
}

function refuse(error) {
  const wantsKey = error.status === 401;
  if (wantsKey) {
    notice.textContent = api.hasKey ? "The server does not know this key." : "The server wants an API key, one of SPANMILL_KEYS.";
    keyForm.hidden = false;
    place.replaceChildren();
    leave();
    keyField.focus();
  } else notice.textContent = error.message;
  notice.className = "refused";
}

function showHeader() {
  const names = app.job.outputs.map((output) => [
    element("strong", { title: output.url }, element("bdi", {}, output.name)),
    " ",
    element("span", { className: output.complete ? "state" : "state open" }, stateOf(output)),
  ]);
  const between = names.flatMap((name, index) => (index ? [" and ", ...name] : name));
  document.getElementById("shown").replaceChildren(...between);
}

function stateOf({ complete, shards: done, expected_shards: all }) {
  return complete ? "complete" : `${number(done)} of about ${number(all)} shards`;
}

function showLinks(id) {
  const offered = VIEWS.filter((view) => !view.within && view.offered(app.job));
  links.replaceChildren(
    ...offered.map((view) =>
      element("li", {}, element("a", { href: hash(view.id), "aria-current": view.id === id ? "page" : false }, view.title(app.job))),
    ),
  );
}

function show() {
  if (!app.job) return;
  const { view: id, params } = read();
  const view = VIEWS.find((one) => one.id === id && one.offered(app.job)) ?? rows;
  notice.textContent = "";
  if (view.id !== shownId) {
    const isFirst = !shownId;
    leave();
    shown = view.make(app);
    shownId = view.id;
    place.replaceChildren(shown.element);
    if (!isFirst) {
      scrollTo(0, 0);
      place.focus({ preventScroll: true });
    }
  }
  const link = view.within ? view.within(app.job) : view.id;
  showLinks(link);
  document.title = `${app.job.outputs[0].name} – Spanmill view`;
  shown.update(params);
}

/** A job that still runs commits more and more; what it has is offered, and never moves what somebody looks at. */
async function lookAgain(signal) {
  while (!app.job.outputs.every(({ complete }) => complete)) {
    await new Promise((done) => setTimeout(done, LOOK_AGAIN_MS));
    try {
      app.job = await api.get("job", {}, signal);
      notice.textContent = "";
      showHeader();
      offerNew(shardsOf(app.job) - shards);
    } catch (error) {
      // Without its key nothing is had, and a later request is another's matter.
      if (error.name === "AbortError" || error.status === 401) throw error;
      refuse(error);
    }
  }
}

function offerNew(more) {
  if (more <= 0) return;
  const renew = () => {
    arrived.hidden = true;
    shards = shardsOf(app.job);
    shownId = "";
    show();
  };
  arrived.replaceChildren(
    `${counted(more, "new shard")} since this page was opened. `,
    element("button", { type: "button", className: "quiet small", onclick: renew }, "Show them"),
  );
  arrived.hidden = false;
}

function shardsOf({ outputs }) {
  return outputs.reduce((sum, output) => sum + output.shards, 0);
}

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  api.key = keyField.value.trim();
  keyField.value = "";
  start();
});
keyForget.addEventListener("click", () => {
  api.key = "";
  keyForget.hidden = true;
  start();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  place.focus();
});
addEventListener("hashchange", show);
start();
