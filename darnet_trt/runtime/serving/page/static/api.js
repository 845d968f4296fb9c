// Talks to the service: with the token where it wants one, and with its events as they come.

import {find} from "./dom.js";

let token = ""; // in memory alone
let asking = null;

/** What the service refused, in its own words. */
export class Refusal extends Error {
  constructor(status, words) {
    super(words || `the service answered ${status}`);
    this.status = status;
  }
}

export const authorization = () => (token ? {Authorization: `Bearer ${token}`} : {});

/** Ask for the token, once for all who wait for it. */
export function askToken() {
  asking ??= new Promise(done => {
    const dialog = find("ask");
    const field = find("token");
    find("ask-wrong").textContent = token ? "The service does not know this token." : "";
    token = field.value = "";
    dialog.addEventListener("cancel", event => event.preventDefault());
    dialog.addEventListener("close", () => {
      token = field.value.trim().replace(/[^\x21-\x7e]/g, "?"); // a header takes no others
      field.value = "";
      asking = null;
      done();
    }, {once: true});
    dialog.showModal();
  });
  return asking;
}

/** Read the one line of an error. */
export function errorOf(status, text) {
  try {
    const body = JSON.parse(text);
    return new Refusal(status, body.error || body.detail);
  } catch {
    return new Refusal(status, "");
  }
}

/** Ask the service; throws a Refusal where it does not answer with what was asked for. */
export async function ask(path, {accept = "application/json", signal} = {}) {
  for (;;) {
    const used = token;
    const response = await fetch(path, {
      headers: {Accept: accept, ...authorization()}, signal, cache: "no-store",
    });
    if (response.ok) return response;
    const words = await response.text();
    if (response.status !== 401) throw errorOf(response.status, words);
    if (used === token) await askToken(); // else another question brought the token meanwhile
  }
}

export const json = async (path, options) => (await ask(path, options)).json();

/** Take a file that the service makes; a link alone could not show the token. */
export async function download(path, name) {
  const content = await (await ask(path, {accept: "*/*"})).blob();
  const address = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

const SILENT_MS = 60_000; // the service says something at least every 15 s
const LONGEST_MS = 15_000;

/**
 * Listen to events for ever, and connect again when the connection ends.
 *
 * `connected` is called when events come (again), `lost` when they do not, with the service's reason
 * where it gave one.
 */
export async function listen(path, heard, connected, lost) {
  for (let tries = 0; ; tries += 1) {
    const ended = new AbortController();
    let silence = 0;
    let why = "";
    const wait = () => {
      clearTimeout(silence);
      silence = setTimeout(() => ended.abort(), SILENT_MS);
    };
    try {
      const response = await ask(path, {accept: "text/event-stream", signal: ended.signal});
      tries = 0;
      connected();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let left = "";
      wait();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        wait();
        const blocks = (left + part.value.replaceAll("\r", "")).split("\n\n");
        left = blocks.pop();
        for (const block of blocks) tell(block, heard);
      }
    } catch (error) { // the service is away, or restarts, or refuses
      why = error instanceof Refusal ? error.message : "";
    }
    clearTimeout(silence);
    lost(why);
    await new Promise(done => setTimeout(done, Math.min(500 * 2 ** tries, LONGEST_MS)));
  }
}

function tell(block, heard) {
  const data = block.split("\n").filter(line => line.startsWith("data:"))
    .map(line => line.slice(5).replace(/^ /, "")).join("\n");
  if (data) heard(JSON.parse(data));
}
