// Makes the page's elements. A text becomes a text node and nothing else, so that no name in a
// scan can become HTML.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "rect", "line", "path", "text", "polyline", "g", "title"]);
const LONGEST = 240; // characters of a text that anybody may have written

export const find = id => document.getElementById(id);

/** Make an element; an attribute that is null or false is left out. */
export function make(tag, attributes = {}, ...inside) {
  const node = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false && value !== undefined) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...inside.filter(each => each !== null && each !== undefined && each !== ""));
  return node;
}

/** Show a text from outside on one line, with nothing that steers its display. */
export function shown(text) {
  const plain = String(text).replace(/[\t\n\r]/g, " ").replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");
  return plain.length > LONGEST ? `${plain.slice(0, LONGEST - 1)}…` : plain;
}

/** Show it set apart from the writing direction around it. */
export const told = text => make("bdi", {}, shown(text));

/** Make a bar that fills a share of its place; the number beside it says the same. */
export const bar = share => make("svg", {class: "bar", "aria-hidden": "true"},
  make("rect", {class: "all", width: "100%", height: "100%"}),
  make("rect", {width: `${(100 * share).toFixed(1)}%`, height: "100%"}));

/** Make a list of facts; each is a name and one or more values, and without values left out. */
export function facts(...rows) {
  const list = make("dl", {class: "facts"});
  for (const [name, ...values] of rows) {
    const there = values.filter(value => value !== null && value !== "" && value !== undefined);
    if (there.length) {
      list.append(make("div", {}, make("dt", {}, name), ...there.map(v => make("dd", {}, v))));
    }
  }
  return list;
}

/** Have a screen reader say something; the page shows it elsewhere. */
export function say(text, {urgent = false} = {}) {
  const place = find(urgent ? "alert" : "said");
  place.textContent = ""; // or the same words twice would be said once
  setTimeout(() => { place.textContent = shown(text); }, 50);
}
