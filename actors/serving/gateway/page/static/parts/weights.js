// The flat arrays of the attention column, read by layer, head and token.

/**
 * What tokens of a window attend to in one layer.
 * @param {{tokens: Array, layers: number[], heads: number, targets: number[]|null, weights: number[]}} window flat in C order
 *     of [layers, heads, tokens, top]; `targets` is null where every token has the weights of all, in their order
 * @param {number} layer 1 is the first
 * @param {Iterable<number>} heads 0 is the first
 * @param {Iterable<number>} from places of the tokens that attend
 * @param {number} least weights below it are left out
 * @returns {Array<{from: number, to: number, head: number, weight: number}>}
 */
export function linksOf(window, layer, heads, from, least = 0) {
  const { tokens, layers, targets, weights } = window;
  const size = tokens.length;
  const top = weights.length / (layers.length * window.heads * size);
  const links = [];
  for (const head of heads) {
    for (const place of from) {
      const first = ((layers.indexOf(layer) * window.heads + head) * size + place) * top;
      for (let nth = 0; nth < top; nth += 1) {
        const weight = weights[first + nth];
        const to = targets ? targets[first + nth] : nth;
        if (weight >= least && to >= 0 && to < size) links.push({ from: place, to, head, weight });
      }
    }
  }
  return links;
}

/** The weights between tokens, as the mean over heads; the heaviest first. `side` is whose places tell them apart. */
export function meansBy(side, links, heads) {
  const sums = new Map();
  for (const link of links) sums.set(link[side], (sums.get(link[side]) ?? 0) + link.weight / heads);
  return [...sums].map(([place, weight]) => ({ place, weight })).sort((a, b) => b.weight - a.weight);
}

/** The hue of a head's lines, in degrees. */
export function hueOf(head, heads) {
  return Math.round((360 * head) / heads);
}
