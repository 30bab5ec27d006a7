// What the form of every view does when it asks: one request, and what becomes of it.

import { reveal } from "./dom.js";

/**
 * Posts a body to a route. The status says how that goes, and what comes back is shown; a refusal is said instead.
 * @param {{service: Service, notice: Object, submit: Element, status: Element, results: Element}} form
 * @param {string} route
 * @param {Object} body
 * @param {function(Object, number): string} show fills the results with a reply that took so many ms; what it gives is
 *     the status
 */
export async function ask({ service, notice, submit, status, results }, route, body, show) {
  notice.say("");
  submit.disabled = true;
  status.className = "status";
  status.textContent = "Asking …";
  const began = performance.now();
  try {
    const reply = await service.post(route, body);
    status.textContent = show(reply, Math.round(performance.now() - began));
    reveal(results);
  } catch (refused) {
    status.className = "status refused";
    status.textContent = refused.message;
    results.replaceChildren();
    if (refused.status === 401) notice.refuse(refused);
  } finally {
    submit.disabled = false;
  }
}
