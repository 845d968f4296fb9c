// Lists the studies, the newest first; what changes leaves the others, and the focus, in place.

import {find, make, shown, told} from "./dom.js";
import {counted, summary, time} from "./words.js";

const items = new Map(); // id → its element, and what it says

/** Draw the studies that are known; `title(view)` names each, `chosen` is the one that is shown. */
export function draw(studies, title, chosen) {
  const list = find("studies");
  const ordered = [...studies.values()].sort((a, b) =>
    (a.first < b.first ? 1 : a.first > b.first ? -1 : a.id < b.id ? -1 : 1));
  for (const [id, item] of items) {
    if (!studies.has(id)) {
      item.node.remove();
      items.delete(id);
    }
  }
  ordered.forEach((view, place) => {
    const item = itemOf(view, title(view));
    if (list.children[place] !== item.node) list.insertBefore(item.node, list.children[place] ?? null);
    const link = item.node.firstChild;
    if (view.id !== chosen) {
      link.removeAttribute("aria-current");
    } else if (!link.hasAttribute("aria-current")) {
      link.setAttribute("aria-current", "true");
      list.scrollTop = Math.min(link.offsetTop - list.offsetTop, Math.max(list.scrollTop,
        link.offsetTop - list.offsetTop + link.offsetHeight - list.clientHeight));
    }
  });
  find("none").hidden = ordered.length > 0;
  drawWaits(ordered);
}

function itemOf(view, title) {
  const {kind, text} = summary(view);
  const says = `${title}\n${kind}\n${text}\n${view.last}`;
  const known = items.get(view.id);
  if (known?.says === says) return known;
  const parts = [make("span", {class: "title"}, told(title)),
    make("time", {class: "soft", datetime: view.last}, time(view.last)),
    make("span", {class: `what ${kind}`}, told(text))];
  const node = known?.node ?? make("li", {}, make("a", {href: `#${view.id}`}));
  node.firstChild.replaceChildren(...parts);
  const item = {node, says};
  items.set(view.id, item);
  return item;
}

function drawWaits(studies) {
  const many = state => studies.filter(view => view.state === state).length;
  const [receiving, queued, running] = ["receiving", "queued", "running"].map(many);
  const said = [];
  if (receiving) said.push(`${receiving} being received`);
  if (queued) said.push(`${counted(queued, "waits", "wait")} for the engine`);
  if (running) said.push(`${running} being classified`);
  find("waits").textContent = !studies.length ? "" : said.length ? said.join(", ") : "Nothing waits.";
}

/** What a study is called: the file that was sent here, else its series, else a part of its id. */
export function titleOf(view, sent) {
  const described = view.results.map(each => each.series?.description).find(Boolean);
  const patient = view.results.map(each => !each.pseudonymous && each.patient_id).find(Boolean);
  const name = sent.get(view.id) ?? described;
  return shown([patient, name].filter(Boolean).join(", ") || `Study ${view.id.slice(0, 8)}`);
}
