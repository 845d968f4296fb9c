// Shows a study's slices with the class activation map over them, and its evidence along the depth.

import {make, shown} from "../dom.js";
import {blend} from "./evidence.js";
import {chart, sample, short, strongest} from "./depth.js";

// Codes of warnings that the pixels contradict left and right of the header.
const SIDES_DOUBTED = new Set(["axes-exchanged", "mirrored", "turned-round", "all-reversed"]);

const NOTCH = 40; // pixels of scrolling, for a slice

/** Return the viewer's element for a classified scan. */
export function viewer(evidence, result) {
  const state = {slice: 0, number: Math.max(evidence.classes.indexOf(result.class), 0), opacity: 0.7};
  const profile = () => evidence.profiles[state.number];
  state.slice = strongest(profile());

  const canvas = make("canvas", {
    width: evidence.width, height: evidence.height, role: "img", "aria-labelledby": "slice-said",
  });
  canvas.style.aspectRatio = String(proportion(evidence, result));
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(evidence.width, evidence.height);
  const sides = evidence.oriented && !result.warnings.some(each => SIDES_DOUBTED.has(each.code));

  const slider = make("input", {
    type: "range", id: "slice", min: 0, max: evidence.depth - 1, step: 1, value: state.slice,
  });
  const said = make("output", {id: "slice-said", for: "slice"});
  const opacity = make("input", {type: "range", id: "opacity", min: 0, max: 100, step: 5, value: 70});
  const share = make("span");
  const choice = make("select", {id: "map-of"},
    ...evidence.classes.map((name, i) => make("option", {value: i}, shown(name))));
  choice.value = String(state.number);
  const jump = make("button", {type: "button"}, "Strongest slice");

  const go = slice => {
    state.slice = Math.min(Math.max(slice, 0), evidence.depth - 1);
    draw();
  };
  const depth = chart(evidence, slice => position(result, slice, evidence.depth).short, go);

  function draw() {
    const laid = evidence.over(state.number, state.slice);
    const area = laid.length;
    const start = state.slice * area;
    for (let i = 0; i < area; i += 1) {
      const part = evidence.peak > 0 ? laid[i] / evidence.peak : 0;
      blend(image.data, 4 * i, evidence.grey[start + i], part, state.opacity);
    }
    pen.putImageData(image, 0, 0);
    const where = position(result, state.slice, evidence.depth);
    const mean = short(profile()[state.slice]);
    slider.value = String(state.slice);
    said.textContent = `Slice ${state.slice + 1} of ${evidence.depth}${where.long}; `
      + `mean evidence for ${shown(evidence.classes[state.number])}: ${mean}`;
    slider.setAttribute("aria-valuetext", said.textContent);
    share.textContent = `${Math.round(100 * state.opacity)}\u00a0%`;
    depth.show(state.slice, state.number);
  }

  slider.addEventListener("input", () => go(Number(slider.value)));
  opacity.addEventListener("input", () => { state.opacity = Number(opacity.value) / 100; draw(); });
  choice.addEventListener("change", () => { state.number = Number(choice.value); draw(); });
  jump.addEventListener("click", () => go(strongest(profile())));
  let turned = 0; // a touch pad turns by single pixels, a wheel by a hundred
  canvas.addEventListener("wheel", event => {
    const next = state.slice - Math.sign(event.deltaY);
    if (!event.deltaY || event.ctrlKey || next < 0 || next >= evidence.depth) return; // zoom, scroll
    event.preventDefault();
    turned += event.deltaMode ? Math.sign(event.deltaY) * NOTCH : event.deltaY;
    if (Math.abs(turned) < NOTCH) return;
    turned = 0;
    go(next);
  }, {passive: false});
  canvas.addEventListener("pointerdown", event => { event.preventDefault(); slider.focus(); });

  const drawn = make("section", {class: "viewer", "aria-label": "Slices and evidence"},
    make("div", {class: "picture"},
      make("div", {class: "slice"}, canvas,
        sides ? make("span", {class: "side right", "aria-hidden": "true"}, "R") : null,
        sides ? make("span", {class: "side left", "aria-hidden": "true"}, "L") : null),
      scale(evidence.peak)),
    make("div", {class: "along"}, depth.drawn, make("ul", {class: "legend"},
      ...evidence.classes.map((name, i) => make("li", {}, sample(i), " ", shown(name))))),
    make("div", {class: "controls"},
      make("label", {class: "wide-control"}, "Slice, foot to head", slider), said,
      make("label", {}, "Map of the evidence for", choice),
      make("label", {}, make("span", {}, "Opacity of the map ", share), opacity), jump),
    make("p", {class: "soft note"},
      "Shown is the network's input, not the scan; not for diagnosis. The map is in units of the "
      + "logits: a class's logit is its map's mean plus a constant. One scale for all classes; "
      + `evidence against a class, and less than ${short(0.3 * evidence.peak)}, is not coloured.`
      + (sides ? " The patient's right side is on the left." : " Which side is left is not known.")));
  draw();
  return drawn;
}

/** Width of a slice over its height, in the patient's proportions. */
function proportion(evidence, result) {
  const {matrix, spacing_mm: spacing} = result.series ?? {};
  return matrix && spacing ? (matrix[1] * spacing[2]) / (matrix[0] * spacing[1])
    : evidence.width / evidence.height;
}

/** Where a slice of the input lies: millimetres from the series' lowest slice where they are known. */
function position(result, slice, depth) {
  const series = result.series;
  if (!series || !series.spacing_mm) return {short: String(slice + 1), long: ""};
  const [first, last] = series.sampled?.covered ?? [0, series.slices - 1];
  const place = ((slice + 0.5) * (last - first + 1)) / depth - 0.5;
  const at = first + Math.min(Math.max(place, 0), last - first);
  const mm = Math.round(at * series.spacing_mm[0]);
  return {short: `${mm} mm`, long: `, ${mm} mm above the lowest of the series`};
}

/** The colours with their numbers, from nothing to the largest evidence of any class. */
function scale(peak) {
  if (peak <= 0) return make("p", {class: "scale soft"}, "no evidence for any class");
  const steps = 128;
  const canvas = make("canvas", {width: 1, height: steps, "aria-hidden": "true"});
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(1, steps);
  for (let i = 0; i < steps; i += 1) blend(image.data, 4 * i, 90, 1 - i / (steps - 1), 1);
  pen.putImageData(image, 0, 0);
  const numbers = [1, 0.5, 0].map(part => make("span", {}, short(part * peak)));
  return make("div", {class: "scale", role: "img",
    "aria-label": `Colours from 0, dark, to ${short(peak)}, bright`},
  make("span", {class: "scale-title", "aria-hidden": "true"}, "evidence"),
  canvas, make("span", {class: "numbers", "aria-hidden": "true"}, ...numbers));
}

