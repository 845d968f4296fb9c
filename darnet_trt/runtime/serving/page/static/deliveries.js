// Shows what is on its way to each receiver, and what became of it.

import {json} from "./api.js";
import {find, make, told} from "./dom.js";
import {time} from "./words.js";

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
  find("peers").replaceChildren(...peers.map(peer => {
    const lines = [];
    if (peer.refused) lines.push(make("li", {class: "refused"}, `${peer.refused} refused`, why(peer.why_refused)));
    if (peer.waiting) {
      const when = peer.next ? ` from ${time(peer.next)} on` : "";
      lines.push(make("li", {class: "doubt"}, `${peer.waiting} to be tried again${when}`, why(peer.why_waiting)));
    }
    if (peer.awaited) lines.push(make("li", {}, `${peer.awaited} not yet committed`));
    const done = [`${peer.sent} sent`];
    if (peer.committed) done.push(`${peer.committed} committed`);
    return make("li", {}, make("b", {}, told(peer.peer)),
      make("ul", {}, make("li", {class: "ok"}, done.join(", ")), ...lines));
  }));
}

const why = words => (words ? make("span", {class: "soft"}, " (", told(words), ")") : null);
