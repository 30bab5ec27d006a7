// Numbers for people.

const WHOLE = new Intl.NumberFormat("en");

/** 12,345 */
export function number(value) {
  return WHOLE.format(value);
}

/** "1 row", "2,000 rows" */
export function counted(value, word) {
  return `${number(value)} ${word}${value === 1 ? "" : "s"}`;
}
