// What several views need to know of tokens and numbers.

/** How a token is shown: some tokenizers count the blanks before a word to it, and know tokens that stand for no text. */
export function shownToken({ text }) {
  return text.trim() || "␣";
}

/** A probability or weight as it is shown. */
export function rounded(number) {
  return number > 0 && number < 0.005 ? "<0.01" : number.toFixed(2);
}

/** The places of the window's tokens that hold a span of the passage, or of the question. */
export function placesOf(tokens, { start, end }, part = "passage") {
  const places = [];
  tokens.forEach((token, place) => {
    if (token.part === part && token.start < end && start < token.end) places.push(place);
  });
  return places;
}
