// The page: asks what is served, offers the views that this model can fill, and keeps the key.

import { element } from "./dom.js";
import { Service } from "./service.js";
import { answer } from "./views/answer.js";
import { similarity } from "./views/similarity.js";

/**
 * The views in the order of their links. A view is an object of its own module:
 * `id` (in the address, behind #), `title`, `offered(model)` and `make(service, model, notice)`, which gives an element.
 */
const VIEWS = [answer, similarity];

const service = new Service();
const place = document.getElementById("view");
const key = {
  form: document.getElementById("key"),
  field: document.getElementById("key-field"),
  forget: document.getElementById("key-forget"),
};
const choice = { line: document.getElementById("model"), list: document.getElementById("model-choice") };
const made = new Map();
let model = null;

/** What the page as a whole has to say: a sentence, "" for nothing, or the refusal of a request. */
const notice = {
  say(text, ...more) {
    const place = document.getElementById("notice");
    place.replaceChildren(text, ...more);
    place.className = "";
  },
  refuse(refused, ...more) {
    this.say(`${refused.message} `, ...more);
    document.getElementById("notice").className = "refused";
    if (refused.status === 401) askForKey();
  },
};

function askForKey() {
  key.form.hidden = false;
  key.forget.hidden = true;
  key.field.focus();
}

async function start() {
  notice.say("Asking what is served …");
  try {
    model = await service.model();
    if (!choice.list.options.length) offer(await service.models());
  } catch (refused) {
    const again = element("button", { type: "button", className: "quiet", onclick: start }, "Try again");
    notice.refuse(refused, refused.status === 401 ? "" : again);
    return;
  }
  key.form.hidden = true;
  key.forget.hidden = !service.key;
  notice.say("");
  const does = model.answers ? "answers questions, and embeds texts" : "embeds texts; it has no QA head, so it answers no questions";
  document.getElementById("served").replaceChildren(element("strong", {}, model.name), ` ${does}`);
  show();
}

/** Lets one choose between the models, where there are several. */
function offer(names) {
  choice.list.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  choice.line.hidden = names.length < 2;
}

function show() {
  if (model === null) return;
  const offered = VIEWS.filter((view) => view.offered(model));
  const view = offered.find((one) => `#${one.id}` === location.hash) ?? offered[0];
  if (!made.has(view)) made.set(view, view.make(service, model, notice));
  const links = offered.map((one) =>
    element("li", {}, element("a", { href: `#${one.id}`, "aria-current": one === view && "page" }, one.title)),
  );
  document.getElementById("views").replaceChildren(...links);
  document.title = `${view.title} · Spanmill`;
  notice.say("");
  place.replaceChildren(made.get(view));
}

key.form.addEventListener("submit", (event) => {
  event.preventDefault();
  service.key = key.field.value.trim();
  key.field.value = "";
  made.clear();
  start();
});
choice.list.addEventListener("change", () => {
  service.choose(choice.list.value);
  made.clear();
  start();
});
key.forget.addEventListener("click", () => {
  service.key = "";
  location.reload();
});
addEventListener("hashchange", () => {
  if (location.hash === "#view") return;
  show();
  place.focus();
});
start();
