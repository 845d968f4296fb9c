// Draws the evidence along the depth: a curve a class, head at the top; a click goes to a slice.

import {make, shown} from "../dom.js";

const WIDTH = 280;
const HEIGHT = 420;
const LEFT = 58; // for the slices' numbers
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 40; // for the numbers of the evidence

/** "0.25", "-1.2": three digits at most. */
export const short = number => String(Number(number.toPrecision(2)));

/**
 * Return the chart's element, and a function that shows a slice and a class in it.
 *
 * `label(slice)` names a slice at the axis; `go(slice)` is called on a click.
 */
export function chart(evidence, label, go) {
  const all = evidence.profiles.flat();
  const low = Math.min(0, ...all);
  const high = Math.max(0, ...all, low + 1e-6);
  const x = value => LEFT + ((value - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
  const y = slice => TOP + (1 - slice / Math.max(evidence.depth - 1, 1)) * (HEIGHT - TOP - BOTTOM);
  const floor = HEIGHT - BOTTOM;
  const words = (text, at) => make("text", at, text);

  const grid = [];
  const marks = low < 0 && -low > 0.15 * (high - low) ? [low, 0, high] : [0, high];
  for (const value of marks) {
    const [at, anchor] = [x(value), value === high ? "end" : "middle"];
    grid.push(make("line", {class: value ? "rule" : "zero", x1: at, x2: at, y1: TOP, y2: floor}),
      words(short(value), {x: at, y: floor + 15, "text-anchor": anchor}));
  }
  const steps = Math.min(evidence.depth - 1, 4);
  for (let i = 0; i <= steps; i += 1) {
    const slice = Math.round((i * (evidence.depth - 1)) / Math.max(steps, 1));
    grid.push(words(label(slice), {x: LEFT - 6, y: y(slice) + 4, "text-anchor": "end"}));
  }
  const curves = evidence.profiles.map((profile, i) => make("polyline", {
    class: line(i),
    points: profile.map((v, s) => `${x(v).toFixed(1)},${y(s).toFixed(1)}`).join(" "),
  }));
  const here = make("line", {class: "here", x1: LEFT, x2: WIDTH - RIGHT});
  const drawn = make("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "depth",
    "aria-label": described(evidence, label),
  },
  ...grid, words("mean evidence in the slice", {
    x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle",
  }),
  ...curves, here);

  const at = event => {
    const box = drawn.getBoundingClientRect();
    const place = ((event.clientY - box.top) / box.height) * HEIGHT;
    const share = 1 - (place - TOP) / (HEIGHT - TOP - BOTTOM);
    return Math.round(Math.min(Math.max(share, 0), 1) * (evidence.depth - 1));
  };
  drawn.addEventListener("pointerdown", event => {
    drawn.setPointerCapture(event.pointerId);
    go(at(event));
  });
  drawn.addEventListener("pointermove", event => { if (event.buttons & 1) go(at(event)); });

  const show = (slice, number) => {
    here.setAttribute("y1", y(slice));
    here.setAttribute("y2", y(slice));
    curves.forEach((curve, i) => curve.classList.toggle("chosen", i === number));
  };
  return {drawn, show};
}

/** The slice with most evidence for a class. */
export const strongest = profile => profile.indexOf(Math.max(...profile));

function described(evidence, label) {
  const each = evidence.classes.map((name, i) => {
    const slice = strongest(evidence.profiles[i]);
    return `for ${shown(name)} it is largest at ${label(slice)}: ${short(evidence.profiles[i][slice])}`;
  });
  return `Evidence along the depth; ${each.join("; ")}`;
}

/** A class's line: six colours with dashes of their own, then the same again, broad and pale. */
const line = number => `curve c${number % 6}${number < 6 ? "" : " again"}`;

/** A sample of a class's line, for the legend. */
export const sample = number => make("svg",
  {class: "sample", viewBox: "0 0 28 8", "aria-hidden": "true"},
  make("line", {class: line(number), x1: 0, x2: 28, y1: 4, y2: 4}));
