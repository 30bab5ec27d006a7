// What is done once somebody has stopped typing.

const WAIT_MS = 300;

/**
 * Does something a moment after the last call, and not once the view is left.
 * @param {function(): void} act
 * @param {AbortSignal} left is aborted when the view is left
 * @returns {{soon: function(): void, now: function(): void}} `now` does it at once
 */
export function afterTyping(act, left) {
  let timer = 0;
  const stop = () => clearTimeout(timer);
  left.addEventListener("abort", stop, { once: true });
  const now = () => {
    stop();
    act();
  };
  const soon = () => {
    stop();
    if (!left.aborted) timer = setTimeout(act, WAIT_MS);
  };
  return { soon, now };
}
