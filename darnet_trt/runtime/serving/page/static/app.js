// Starts the page: listens to the service, and shows what is chosen.

import {json, listen} from "./api.js";
import * as deliveries from "./deliveries.js";
import {find, make, say, told} from "./dom.js";
import {draw, titleOf} from "./list.js";
import {clear, show} from "./study.js";
import {dropped, send} from "./upload.js";
import {summary} from "./words.js";

const PAGE = 50; // studies that are asked for at once
const studies = new Map(); // id → StudyView
const sent = new Map(); // id → name of the file that was sent from here
const asked = new Set(); // of each list that is asked for: what was heard meanwhile, which is newer
const chosen = () => (/^#[0-9a-f]{32}$/.test(location.hash) ? location.hash.slice(1) : "");
const title = view => titleOf(view, sent);

let most = PAGE; // studies that are listed
let last = ""; // the last one of the service's list that was asked for
let lone = null; // the chosen study, where it is not listed
let drawing = 0;
function redraw() {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    draw(studies, title, chosen());
    const view = studies.get(chosen()) ?? (lone?.id === chosen() ? lone : null);
    if (view) {
      show(view, title(view));
      document.title = `${title(view)}: ${summary(view).text} · darnet-trt`;
    }
  });
}

function heard(view) {
  if (lone?.id === view.id) lone = view;
  for (const meanwhile of asked) meanwhile.set(view.id, view);
  studies.set(view.id, view);
  if (studies.size > most) { // the page stays open for months
    const done = [...studies.values()].filter(each => each.state === "done");
    const oldest = done.reduce((a, b) => (a.first < b.first ? a : b), view);
    if (oldest.id === chosen()) lone = oldest;
    studies.delete(oldest.id);
    find("more").hidden = false;
  }
  redraw();
}

async function load(before) {
  const meanwhile = new Map();
  asked.add(meanwhile);
  const {scans} = await json(`/v1/scans?limit=${PAGE}${before ? `&before=${before}` : ""}`)
    .finally(() => asked.delete(meanwhile));
  if (!before) studies.clear();
  for (const view of [...scans, ...meanwhile.values()]) studies.set(view.id, view);
  last = scans.at(-1)?.id ?? "";
  most = Math.max(studies.size, PAGE);
  find("more").hidden = scans.length < PAGE;
  redraw();
}

/** Show what the address names; a study that is not in the list is asked for. */
async function choose() {
  const id = chosen();
  if (!id) {
    clear("No study is chosen", "Choose one from the list, or send a scan.");
    document.title = "darnet-trt";
  } else if (!studies.has(id)) {
    lone = null;
    try {
      const view = await json(`/v1/scans/${id}`);
      if (chosen() === id) lone = view;
    } catch (error) {
      if (chosen() === id) clear("There is no such study", error.message);
    }
  }
  redraw();
}

async function drawReady() {
  let words = ["Ready", "ok"];
  try {
    const response = await fetch("/v2/health/ready", {cache: "no-store"});
    if (!response.ok) {
      const body = await response.json().catch(() => ({}));
      words = [`Not ready${body.error ? `: ${body.error}` : ""}`, "doubt"];
    }
  } catch {
    words = ["The service does not answer", "failed"];
  }
  if (find("ready").textContent !== words[0]) {
    find("ready").replaceChildren(make("span", {class: words[1]}, told(words[0])));
  }
}

async function drawAbout() {
  const {artifact, trained_on: data} = await json("/v1/service");
  find("about").replaceChildren(told(`${artifact}, trained on ${data}`));
}

function taken(views, name) {
  for (const view of views) {
    if (views.length === 1 && name) sent.set(view.id, name);
    for (const known of [studies, ...asked]) { // a list that is asked for may not have it yet
      if (!known.has(view.id)) known.set(view.id, view); // else what was heard is newer
    }
  }
  if (views.length) location.hash = views[0].id;
  redraw();
}

const drop = find("drop");
find("choose").addEventListener("click", () => find("files").click());
find("files").addEventListener("change", () => {
  send([...find("files").files], taken);
  find("files").value = "";
});
// The whole page takes a drop: a file that misses the box must not replace the page.
addEventListener("dragover", event => { event.preventDefault(); drop.classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) drop.classList.remove("over"); });
addEventListener("drop", async event => {
  event.preventDefault();
  drop.classList.remove("over");
  send(await dropped(event.dataTransfer.items), taken);
});
find("studies").addEventListener("click", event => {
  if (event.target.closest("a")) setTimeout(() => find("study").focus({preventScroll: false}));
});
find("more").addEventListener("click", () => {
  load(last).catch(error => say(error.message, {urgent: true}));
});
find("skip").addEventListener("click", () => find("study").focus());
addEventListener("hashchange", choose);

function lost(why) {
  if (why) find("waits").replaceChildren(make("span", {class: "failed"}, told(`Not up to date: ${why}`)));
  drawReady();
}

function connected() {
  load().then(choose).then(drawAbout).catch(error => lost(error.message));
}

listen("/v1/events", heard, connected, lost);
deliveries.watch();
setInterval(() => { if (!document.hidden) drawReady(); }, 5000);
setInterval(() => { if (!document.hidden) drawAbout().catch(() => {}); }, 60_000); // a reload
drawReady();
