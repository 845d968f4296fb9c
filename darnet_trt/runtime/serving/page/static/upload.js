// Sends scans, and says how far each is.

import {askToken, authorization, errorOf} from "./api.js";
import {find, make, say, shown, told} from "./dom.js";
import {counted, duration, size} from "./words.js";

/**
 * Send what somebody chose or dropped: one upload for all DICOM slices, and one for each other file.
 *
 * `taken(views, name)` is called with the studies that came of it; the name is empty where some of it
 * was received before, and where many files have no common one.
 */
export function send(files, taken) {
  const slices = files.filter(file => !/\.(zip|nii|nii\.gz|nrrd|mha)$/i.test(file.name));
  for (const file of files.filter(each => !slices.includes(each))) new Upload([file], file.name, taken);
  if (slices.length) {
    if (slices.length === 1) new Upload(slices, slices[0].name, taken);
    else new Upload(slices, counted(slices.length, "slice"), views => taken(views, "")); // no name
  }
}

/** Read the files of what was dropped, folders too. */
export async function dropped(items) {
  const entries = [...items].filter(item => item.kind === "file").map(item =>
    item.webkitGetAsEntry?.() ?? item.getAsFile());
  return (await Promise.all(entries.map(filesOf))).flat();
}

async function filesOf(entry) {
  if (!entry) return [];
  if (entry instanceof File) return [entry];
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) { // a folder gives its entries by the hundred
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return (await Promise.all(found.map(filesOf))).flat();
    found.push(...some);
  }
}

class Upload {
  constructor(files, name, taken) {
    this.files = files;
    this.name = name;
    this.taken = taken;
    this.bytes = files.reduce((sum, file) => sum + file.size, 0);
    const random = crypto.getRandomValues(new Uint8Array(16)); // randomUUID wants https
    this.key = [...random].map(byte => byte.toString(16).padStart(2, "0")).join("");
    this.ticket = "";
    this.bar = make("progress", {max: 1, value: 0, "aria-label": `Sent of ${shown(name)}`});
    this.words = make("span", {class: "words"});
    this.again = make("button", {type: "button", hidden: true}, "Try again");
    this.end = make("button", {type: "button"});
    this.again.addEventListener("click", () => this.start());
    this.end.addEventListener("click", () => this.stop());
    this.node = make("li", {}, make("span", {class: "title"}, told(name)), this.bar, this.words,
      make("span", {class: "buttons"}, this.again, this.end));
    find("uploads").prepend(this.node);
    this.start();
  }

  say(text, kind = "") {
    this.words.className = `words ${kind}`;
    this.words.replaceChildren(told(text));
  }

  start() {
    this.again.hidden = true;
    this.bar.hidden = false;
    this.bar.value = 0;
    this.endIs("Stop", "Stop sending");
    this.say(`0 of ${size(this.bytes)}`);
    say(`Sending ${this.name}`);
    const request = this.request = new XMLHttpRequest(); // fetch does not say how much was sent
    request.open("POST", "/v1/scans");
    const headers = {Accept: "application/json", "Idempotency-Key": this.key, ...authorization()};
    if (this.ticket) headers["Darnet-Ticket"] = this.ticket;
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", event => {
      this.bar.value = event.loaded / event.total;
      this.say(event.loaded < event.total ? `${size(event.loaded)} of ${size(event.total)}`
        : "sent; the service reads it");
    });
    request.addEventListener("load", () => this.answered());
    request.addEventListener("error", () => this.over("The connection was lost.", "failed"));
    const form = new FormData();
    for (const file of this.files) form.append("file", file, file.name);
    request.send(form);
  }

  stop() {
    clearTimeout(this.later);
    this.request?.abort();
    this.node.remove();
    say(`Stopped sending ${this.name}`);
    find("choose").focus();
  }

  /** Leave the words for the reader to close; `final`: it is of no use to try again. */
  over(words, kind, final = false) {
    this.say(words, kind);
    say(`${this.name}: ${words}`, {urgent: kind === "failed"});
    this.bar.hidden = true;
    this.again.hidden = final;
    this.endIs("Close", "Close");
  }

  endIs(short, long) {
    this.end.textContent = short;
    this.end.setAttribute("aria-label", `${long} ${shown(this.name)}`);
  }

  async answered() {
    const {status, responseText} = this.request;
    if (status === 200 || status === 202) {
      this.accepted(JSON.parse(responseText));
    } else if (status === 401) {
      await askToken();
      this.start();
    } else if (status === 429 || status === 503) {
      this.wait(errorOf(status, responseText));
    } else {
      this.over(errorOf(status, responseText).message, "failed", status < 500);
    }
  }

  /** The service is full: it says when a place is free, and the ticket keeps that place. */
  wait(refusal) {
    const seconds = Number(this.request.getResponseHeader("Retry-After"));
    this.ticket = this.request.getResponseHeader("Darnet-Ticket") ?? "";
    if (!seconds) {
      this.over(refusal.message, "failed");
      return;
    }
    this.bar.hidden = true;
    const words = `not taken yet: ${refusal.message}; sent again in ${duration(seconds)}`;
    this.say(words, "doubt");
    say(`${this.name}: ${words}`);
    this.later = setTimeout(() => this.start(), 1000 * seconds);
  }

  accepted(body) {
    const said = [];
    if (body.known) said.push(`${counted(body.known, "file")} received before`);
    const ignored = Object.values(body.ignored).reduce((a, b) => a + b, 0);
    if (ignored) said.push(`${counted(ignored, "file")} ignored`);
    for (const {name, why} of body.refused) said.push(`refused: ${name}: ${why}`);
    say(`${this.name}: received`);
    this.taken(body.scans, body.known ? "" : this.name);
    if (!said.length) {
      this.node.remove();
      return;
    }
    this.over(said.join("; "), "doubt", true);
  }
}
