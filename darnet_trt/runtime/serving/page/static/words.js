// What the page says of a study, in words.

const two = number => String(number).padStart(2, "0");

/** "1 file", "2,000 files". */
export const counted = (count, one, many = `${one}s`) =>
  `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** "98.5 %". */
export const percent = share => `${(100 * share).toFixed(1)}\u00a0%`;

/** "8 s", "3 min", "2 h". */
export function duration(seconds) {
  if (seconds < 100) return `${Math.max(Math.ceil(seconds), 1)}\u00a0s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)}\u00a0min`;
  return `${Math.round(seconds / 3600)}\u00a0h`;
}

/** "1.2 GB". */
export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  const step = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), 3);
  return `${(bytes / 1000 ** step).toFixed(step ? 1 : 0)}\u00a0${units[step]}`;
}

/** Time of the reader's clock: "14:05:10", with the day where that is not today. */
export function time(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  return at.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
}

/** What became of a scan: a word for its colour, and the words to say. */
export function verdict(result) {
  if (result.status !== "ok") return {kind: result.status, text: `${result.status}: ${result.reason}`};
  const named = Object.entries(result.probabilities).sort((a, b) => b[1] - a[1])
    .map(([name, p]) => `${name} ${percent(p)}`);
  return result.undecided ? {kind: "doubt", text: `undecided: ${named[0]}, ${named[1]}`}
    : {kind: "", text: named[0]};
}

/** What is being done with a study; empty where all is done. */
export function doing(view) {
  const files = counted(view.received, "file");
  const about = view.wait_s === null ? "" : duration(view.wait_s);
  switch (view.state) {
    case "receiving":
      return `receiving, ${files} so far${about && `; complete in ${about} if no more come`}`;
    case "queued": {
      const ahead = view.ahead ? `${counted(view.ahead, "study", "studies")} before it` : "next";
      return `waits, ${ahead}${about && `; result in about ${about}`}`;
    }
    case "running":
      return `being classified${about && `; result in about ${about}`}`;
    default:
      return "";
  }
}

/** What the list says of a study: a word for its colour, and the words. */
export function summary(view) {
  if (view.state !== "done") return {kind: "busy", text: doing(view)};
  if (view.results.length > 1) {
    return {kind: "", text: view.results.map(each => verdict(each).text).join("; ")};
  }
  return view.results.length ? verdict(view.results[0]) : {kind: "failed", text: "no result"};
}
