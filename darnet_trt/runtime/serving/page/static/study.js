// Shows one study: what is being done, the result with its reasons, and what it was made from.

import {ask, download, json} from "./api.js";
import {bar, facts, find, make, say, shown, told} from "./dom.js";
import {parse} from "./viewer/evidence.js";
import {viewer} from "./viewer/viewer.js";
import {counted, doing, percent, time, verdict} from "./words.js";

const KINDS = {
  sr: "Structured report (SR)", pm: "Parametric map (PM)", sc: "Picture (SC)",
  refusal: "Report of the refusal (SR)",
};
const ADVICE = {
  refused: "The scan can be read, but a class for it would be a guess. Send another series, or mend "
    + "what the reason names.",
  failed: "The scan cannot be read. Send it again, or export it anew.",
};
const MOST_FILES = 2000; // rows

let now = {id: "", results: "", files: "", state: ""};

/** Show that nothing is chosen, or that there is no such study. */
export function clear(title, words) {
  now = {id: "", results: "", files: "", state: ""};
  find("study").replaceChildren(make("div", {class: "empty"},
    make("h2", {}, title), make("p", {}, words)));
}

/** Show a study, or what changed of it; the reader keeps the place in its slices. */
export function show(view, title) {
  if (now.id !== view.id) {
    now = {id: view.id, results: "", files: "", state: ""};
    find("study").replaceChildren(make("h2", {id: "study-title"}),
      make("p", {id: "patient", class: "soft"}), make("div", {id: "progress"}), make("div", {id: "results"}), make("div", {id: "files-of"}));
  }
  find("study-title").replaceChildren(told(title));
  find("patient").replaceChildren(...patient(view.results));
  drawProgress(view);
  const results = JSON.stringify(view.results);
  if (results !== now.results) {
    now.results = results;
    find("results").replaceChildren(...view.results.map((each, i) => section(view, each, i)));
  }
  drawFiles(view);
  const state = `${view.state} ${results}`;
  if (now.state && now.state !== state) say(`${shown(title)}: ${spoken(view)}`);
  now.state = state;
}

const spoken = view => (view.state === "done" ? view.results.map(each => verdict(each).text).join("; ")
  : view.state === "receiving" ? "receiving" : doing(view));

const FIELDS = {patient_id: "Patient", accession_number: "Accession", study_date: "Study of"};

/** The patient's fields; the service has them only where it was told to keep them. */
function patient(results) {
  const named = results.filter(each => !each.pseudonymous);
  const said = [];
  for (const [field, name] of Object.entries(FIELDS)) {
    const values = [...new Set(named.map(each => each[field]).filter(Boolean))];
    if (values.length) said.push(said.length ? " · " : "", `${name} `, told(values.map(day).join(", ")));
  }
  return said;
}

/** The same fields as keyed hashes, which tell who belongs together. */
const pseudonyms = result => (result.pseudonymous
  ? Object.keys(FIELDS).filter(field => result[field]).map(field =>
    make("span", {}, `${field.replace("_", " ")} `, make("code", {}, shown(result[field])))) : []);

const day = text => text.replace(/^(\d{4})(\d\d)(\d\d)$/, "$1-$2-$3");

function drawProgress(view) {
  const lines = [];
  if (view.state !== "done") {
    lines.push(make("p", {class: "busy"}, doing(view)), make("progress", {"aria-label": "under way"}));
    if (view.results.length) {
      lines.push(make("p", {class: "notice"},
        "More was received. The result below stands until there is a new one."));
    }
  }
  if (view.error) lines.push(make("p", {class: "notice"}, "Tried again: ", told(view.error)));
  const progress = find("progress");
  if (progress.firstChild && lines.length && progress.childNodes.length === lines.length) {
    progress.replaceChild(lines[0], progress.firstChild); // so that the bar does not start anew
  } else {
    progress.replaceChildren(...lines);
  }
}

function section(view, result, number) {
  const {kind, text} = verdict(result);
  const known = result.status === "ok";
  const parts = [make("h3", {class: kind}, known ? told(text) : kind)];
  if (!known) {
    parts.push(make("p", {class: "reason"}, told(result.reason), " ",
      make("code", {class: "soft"}, shown(result.code))), make("p", {}, ADVICE[result.status]));
  }
  if (result.undecided) {
    parts.push(make("p", {class: "notice"},
      "The most probable class leads by less than 10 %. Take no class from it."));
  }
  const warnings = result.warnings.filter(each => each.code !== "undecided"); // said above
  if (warnings.length) {
    parts.push(make("div", {class: "notice"},
      make("h4", {}, warnings.length > 1 ? "Warnings" : "Warning"),
      make("ul", {}, ...warnings.map(each => make("li", {}, told(each.text), " ",
        make("code", {class: "soft"}, shown(each.code)))))));
  }
  if (known) {
    parts.push(probabilities(result));
    const place = make("div", {class: "pictures"}, make("p", {class: "soft"}, "The slices are loaded."));
    parts.push(place);
    if (number === view.results.findIndex(each => each.status === "ok")) pictures(view, result, place);
    else place.replaceChildren();
  }
  parts.push(links(view, result), provenance(result));
  return make("section", {class: "result", "aria-label": `Result ${number + 1}`}, ...parts);
}

function probabilities(result) {
  return make("ul", {class: "shares", "aria-label": "Probabilities"},
    ...Object.entries(result.probabilities).map(([name, p]) => make("li", {class: "share"},
      told(name), make("span", {class: "n"}, percent(p)), bar(p))));
}

async function pictures(view, result, place) {
  try {
    const body = await (await ask(`/v1/scans/${view.id}/evidence`, {accept: "*/*"})).arrayBuffer();
    place.replaceChildren(viewer(parse(body), result));
  } catch (error) {
    place.replaceChildren(make("p", {class: "soft"}, "No pictures: ", told(error.message)));
  }
}

function links(view, result) {
  const home = `/v1/scans/${view.id}`;
  // Of several patients under one study the service gives each kind of the first one alone.
  const first = kind => view.results.find(each => each.dicom.some(o => o.kind === kind)) === result;
  const made = result.dicom.filter(each => KINDS[each.kind] && first(each.kind)).map(each =>
    link(KINDS[each.kind], `${home}/objects/${each.kind}`, `${view.id}-${each.kind}.dcm`));
  if (view.results.find(each => each.status === "ok") === result) {
    made.push(link("Overlay (PNG)", `${home}/overlay.png`, `${view.id}.png`));
  }
  made.push(link("All as JSON", home, `${view.id}.json`));
  return make("p", {class: "links"}, ...made);
}

function link(words, path, name) {
  const made = make("a", {href: path, download: name}, words);
  made.addEventListener("click", event => {
    event.preventDefault();
    download(path, name).catch(error => {
      say(error.message, {urgent: true});
      made.after(make("span", {class: "failed"}, " ", told(error.message)));
    });
  });
  return made;
}

const seconds = ms => `${(ms / 1000).toFixed(2)}\u00a0s`;

function provenance(result) {
  const series = result.series;
  const stages = result.stages_ms;
  const used = series?.sampled?.indices.length;
  const summary = make("summary", {}, "Where it comes from");
  return make("details", {class: "provenance", open: true}, summary, facts(
    ["Series", series ? told(series.description || "without description") : null,
      series ? `${counted(series.slices, "slice")}${used ? `, ${used} of them used` : ""}` : null],
    ["Chosen as", series ? told(series.why) : null],
    ["Trained on", told(result.trained_on)],
    ["Engine", told(`${result.artifact}, runs in ${result.precision}`)],
    ["Bundle", make("code", {}, shown(result.bundle_sha256))],
    ["Finished", time(result.finished),
      result.replaces ? "It replaced an earlier result, since slices came late." : null],
    ["Took", stages.infer ? `${seconds(stages.total)}, of which the engine ${seconds(stages.infer)}` : null],
    ["Study UID", result.study_uid ? make("code", {}, shown(result.study_uid)) : null],
    ["Pseudonyms", ...pseudonyms(result)],
    ["Made by", `darnet-trt ${shown(result.toolkit)}`],
    ["Use", told(result.intended_use)],
  ));
}

function drawFiles(view) {
  const numbers = [view.received, view.used, view.left_out, view.refused].join(" ");
  if (numbers === now.files) return;
  now.files = numbers;
  const known = view.used + view.left_out + view.refused;
  const fates = known ? `: ${view.used} used, ${view.left_out} left out, ${view.refused} refused` : "";
  const list = make("div", {});
  const details = make("details", {class: "files"},
    make("summary", {}, `${counted(view.received, "file")} received${fates}`), list);
  details.addEventListener("toggle", () => { if (details.open) drawInstances(view.id, list); });
  find("files-of").replaceChildren(details);
}

async function drawInstances(id, place) {
  try {
    const {instances} = await json(`/v1/scans/${id}/instances`);
    const rows = instances.slice(0, MOST_FILES).map(each => make("tr", {},
      make("th", {scope: "row"}, make("code", {}, shown(each.sop_uid || "the file"))),
      make("td", {class: each.fate === "refused" ? "refused" : ""}, each.fate),
      make("td", {}, told(each.why))));
    const more = instances.length > rows.length ? ` The first ${rows.length}.` : "";
    const attributes = {class: "scroll", tabindex: 0, role: "group", "aria-label": "Files"};
    place.replaceChildren(make("div", attributes,
      make("table", {}, make("caption", {}, `What became of each file.${more}`),
        make("thead", {}, make("tr", {},
          ...["File", "Fate", "Why"].map(title => make("th", {scope: "col"}, title)))),
        make("tbody", {}, ...rows))));
  } catch (error) {
    place.replaceChildren(make("p", {class: "failed"}, told(error.message)));
  }
}
