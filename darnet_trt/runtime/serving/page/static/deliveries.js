// Shows what is on its way to each receiver, and what became of it.

import {json} from "./api.js";
import {find, make, told} from "./dom.js";
import {duration} from "./words.js";

const EVERY_MS = 10_000;

/** Keep the deliveries in the page up to date while somebody looks. */
export async function watch() {
  for (;;) {
    if (!document.hidden) {
      try {
        draw((await json("/v1/deliveries")).peers);
      } catch {
        // The service is away; the line at the top says so.
      }
    }
    await new Promise(done => setTimeout(done, EVERY_MS));
  }
}

function draw(peers) {
  find("deliveries").hidden = peers.length === 0;
  find("peers").replaceChildren(...peers.map(({peer, objects, awaited, next_s: next, why}) => {
    const {sent = 0, committed = 0, refused = 0, waiting = 0} = objects;
    const lines = [[`${sent + committed} sent${committed ? `, ${committed} of them committed` : ""}`, "ok"]];
    if (awaited) lines.push([`${awaited} not yet committed`, ""]);
    if (waiting) lines.push([`${waiting} to be sent${next ? ` in ${duration(next)}` : ""}`, "doubt"]);
    if (refused) lines.push([`${refused} refused`, "refused"]);
    if (why) lines.push([`It said: ${why}`, "soft"]);
    return make("li", {}, make("b", {}, told(peer)),
      make("ul", {}, ...lines.map(([words, kind]) => make("li", {class: kind}, told(words)))));
  }));
}
