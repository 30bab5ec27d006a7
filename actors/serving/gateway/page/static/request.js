// The request of a form as commands to copy: curl and Python.

import { element } from "./dom.js";

const VARIABLE = "SPANMILL_KEY";

/**
 * The two commands below each other, with a button to copy each.
 * @param {string} heading
 * @param {string} id of the element
 * @param {string} className of the element
 * @returns {{element: Element, show: function(string, boolean, Object): void}} `show(url, withKey, body)` renews them
 */
export function requestCode(heading = "The same request", id = "code", className = "card code") {
  const blocks = [code("curl", curl), code("Python", python)];
  const hint = element("p", { className: "hint" });
  return {
    element: element(
      "section",
      { id, className, "aria-labelledby": `${id}-heading` },
      element("h2", { id: `${id}-heading` }, heading),
      hint,
      ...blocks.map((block) => block.element),
    ),
    show(url, withKey, body) {
      hint.hidden = !withKey;
      hint.textContent = `Your key is left out: put it into the environment variable ${VARIABLE}.`;
      for (const block of blocks) block.show(url, withKey, body);
    },
  };
}

function code(name, write) {
  const shown = element("code");
  const box = element("pre", { tabIndex: 0, role: "region", "aria-label": `The request with ${name}` }, shown);
  const said = element("span", { className: "copied", role: "status" });
  const copy = element("button", { type: "button", className: "quiet", onclick: () => copied(shown, said) }, "Copy ");
  copy.append(element("span", { className: "hidden" }, `the request with ${name}`));
  return {
    element: element("div", { "data-code": name }, element("div", { className: "row" }, element("h3", {}, name), copy, said), box),
    show: (url, withKey, body) => {
      shown.textContent = write(url, withKey, body);
      said.textContent = "";
    },
  };
}

async function copied(shown, said) {
  try {
    await navigator.clipboard.writeText(shown.textContent);
    said.textContent = "Copied";
  } catch {
    // A page of another machine has no clipboard without TLS; what is selected can be copied the old way.
    getSelection().selectAllChildren(shown);
    said.textContent = document.execCommand("copy") ? "Copied" : "Selected: copy it with Ctrl+C";
  }
}

function curl(url, withKey, body) {
  const key = withKey ? ` \\\n  -H "Authorization: Bearer $${VARIABLE}"` : "";
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return `curl '${url}'${key} \\\n  -H 'Content-Type: application/json' \\\n  -d '${quoted}'`;
}

function python(url, withKey, body) {
  const key = withKey ? `, "Authorization": "Bearer " + os.environ["${VARIABLE}"]` : "";
  return [
    "import json",
    ...(withKey ? ["import os"] : []),
    "import urllib.request",
    "",
    `body = ${literal(body)}`,
    `headers = {"Content-Type": "application/json"${key}}`,
    `request = urllib.request.Request("${url}", json.dumps(body).encode(), headers)`,
    "with urllib.request.urlopen(request) as reply:",
    "    print(json.load(reply))",
  ].join("\n");
}

/** A value as Python writes it. JSON's strings and numbers are Python's too. */
function literal(value, margin = "") {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${margin}    `;
  const isList = Array.isArray(value);
  const items = isList
    ? value.map((item) => literal(item, inner))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  return items.length ? `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${margin}${close}` : open + close;
}
