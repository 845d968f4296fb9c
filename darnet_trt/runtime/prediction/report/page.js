"use strict";
(() => {
  const PAGE = 50;
  const find = id => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const words = new Set(["status", "class", "label", "code", "reason", "description", "engine"]);
  const order = new Intl.Collator(undefined, {numeric: true});

  const rows = data.rows.map((packed, place) => {
    const row = {place};
    data.columns.forEach((name, i) => {
      row[name] = words.has(name) ? data.texts[packed[i]] : packed[i];
    });
    row.warnings = row.warnings.map(pair => pair.map(i => data.texts[i]));
    row.probabilities = row.probabilities.map(([name, p]) => [data.texts[name], p]);
    const most = row.probabilities.find(([name]) => name === row.class);
    row.confidence = most ? most[1] : -1;
    row.text = [row.scan, row.class, row.code, row.reason, row.description, row.study, row.series,
      row.label, row.engine, ...(row.patient || []), ...row.warnings.flat()]
      .join("\n").toLowerCase();
    return row;
  });

  // Text goes into the page as text nodes alone, so that no name can become HTML.
  const make = (tag, attributes = {}, ...inside) => {
    const svg = tag === "svg" || tag === "rect";
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...inside);
    return node;
  };
  const told = text => make("bdi", {}, text);
  const bar = share => make("svg", {class: "bar", "aria-hidden": "true"},
    make("rect", {class: "all", width: "100%", height: "100%"}),
    make("rect", {width: `${100 * share}%`, height: "100%"}));
  const seconds = ms => (ms / 1000).toFixed(2);
  const day = time => time.slice(0, 19).replace("T", " ");

  const labelled = document.querySelector("#table [data-sort=label]") !== null;
  const by = {
    scan: (a, b) => order.compare(a.scan, b.scan),
    result: (a, b) => order.compare(a.status, b.status) || order.compare(a.class, b.class)
      || order.compare(a.code, b.code),
    confidence: (a, b) => a.confidence - b.confidence,
    label: (a, b) => order.compare(a.label, b.label),
    warnings: (a, b) => a.warnings.length - b.warnings.length,
    total: (a, b) => a.total - b.total,
    finished: (a, b) => (a.finished < b.finished ? -1 : a.finished > b.finished ? 1 : 0),
  };
  const state = {sort: null, down: false, page: 0, open: new Set(), found: rows};
  const form = find("filters");
  const filters = ["text", "status", "class", "code", "warning", "label"]
    .map(name => form.elements[name]).filter(Boolean);

  const counts = {};
  const count = (name, value) => {
    if (!value) return;
    counts[name] ??= new Map();
    counts[name].set(value, (counts[name].get(value) || 0) + 1);
  };
  for (const row of rows) {
    count("status", row.status);
    count("class", row.class);
    count("code", row.code);
    for (const code of new Set(row.warnings.map(w => w[0]))) count("warning", code);
  }
  for (const [name, values] of Object.entries(counts)) {
    for (const [value, n] of [...values].sort((a, b) => b[1] - a[1])) {
      form.elements[name].append(make("option", {value}, `${value} (${n.toLocaleString("en")})`));
    }
  }

  function chosen() {
    const value = Object.fromEntries(filters.map(f => [f.name, f.value]));
    const parts = value.text.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = row => (!value.status || row.status === value.status)
      && (!value.class || row.class === value.class)
      && (!value.code || row.code === value.code)
      && (!value.warning || row.warnings.some(w => w[0] === value.warning))
      && (!value.label || (row.label !== "" && (value.label === "right") === (row.label === row.class)))
      && parts.every(part => row.text.includes(part));
    const found = rows.filter(wanted);
    if (state.sort) {
      const compare = by[state.sort];
      found.sort((a, b) => (state.down ? compare(b, a) : compare(a, b)) || a.place - b.place);
    }
    return found;
  }

  function cells(row) {
    const open = state.open.has(row.place);
    const button = make("button", {type: "button", "aria-expanded": open}, told(row.scan));
    button.addEventListener("click", () => {
      if (!state.open.delete(row.place)) state.open.add(row.place);
      draw();
      document.querySelector(`#rows tr[data-place="${row.place}"] button`).focus();
    });
    const doubt = row.warnings.some(w => w[0] === "undecided");
    const result = row.status === "ok"
      ? make("td", {class: doubt ? "doubt" : ""}, told(row.class), doubt ? " (undecided)" : "")
      : make("td", {class: row.status}, `${row.status}: `, told(row.code));
    const found = [
      make("th", {scope: "row"}, button), result,
      make("td", {class: "n"}, row.confidence < 0 ? "" : row.confidence.toFixed(3)),
    ];
    if (labelled) {
      const right = row.label && (row.label === row.class ? "right" : "wrong");
      found.push(make("td", {class: right}, told(row.label),
        right === "wrong" ? " (differs)" : ""));
    }
    found.push(
      make("td", {class: "wide"}, told(row.warnings.map(w => w[0]).join(", "))),
      make("td", {class: "n wide"}, seconds(row.total)),
      make("td", {class: "n wide"}, day(row.finished)));
    const lines = [make("tr", {"data-place": row.place}, ...found)];
    if (open) lines.push(make("tr", {class: "detail"}, detail(row, found.length)));
    return lines;
  }

  function detail(row, width) {
    const list = make("dl", {class: "facts"});
    const add = (name, ...values) => {
      if (values.length) list.append(make("div", {}, make("dt", {}, name),
        ...values.map(v => make("dd", {}, v))));
    };
    if (row.reason) add("Reason", told(row.reason));
    add("Probability", ...row.probabilities.map(([name, p]) =>
      make("span", {class: "share"}, told(name), make("span", {}, p.toFixed(4)), bar(p))));
    add(row.warnings.length > 1 ? "Warnings" : "Warning",
      ...row.warnings.map(([code, text]) => make("span", {}, make("code", {}, code), " ", told(text))));
    if (row.series || row.description) add("Series", told(row.description || "without description"),
      `${row.slices} slices`, make("code", {}, row.series));
    if (row.study) add("Study", make("code", {}, row.study));
    if (row.patient) {
      ["Patient ID", "Accession number", "Study date"].forEach((name, i) => {
        if (row.patient[i]) add(name, make("code", {}, row.patient[i]));
      });
    }
    const stages = ["find", "read", "preprocess", "infer"];
    add("Time, s", row.stages.map((ms, i) => `${stages[i]} ${seconds(ms)}`).join(", "));
    add("Finished", `${day(row.finished)} UTC${row.replaces ? "; replaced an earlier result" : ""}`);
    add("Engine", told(row.engine));
    if (row.objects) add("DICOM objects", row.objects);
    const cell = make("td", {colspan: width}, list);
    if (row.overlay) {
      const kept = find(`overlay-${row.place}`);
      const alt = `Activation map of ${row.scan}`;
      cell.append(make("p", {}, make("a", {href: row.overlay, target: "_blank"}, "Open the overlay")),
        make("img", {src: kept ? kept.querySelector("img").src : row.overlay, alt}));
    }
    return cell;
  }

  function draw() {
    const last = Math.max(0, Math.ceil(state.found.length / PAGE) - 1);
    state.page = Math.min(Math.max(state.page, 0), last);
    const start = state.page * PAGE;
    const shown = state.found.slice(start, start + PAGE);
    find("rows").replaceChildren(...shown.flatMap(cells));
    const many = n => n.toLocaleString("en");
    find("count").value = !state.found.length ? "no result"
      : `${many(start + 1)} to ${many(start + shown.length)} of ${many(state.found.length)}`
        + (state.found.length < rows.length ? ` (${many(rows.length)} in all)` : "");
    find("before").disabled = state.page === 0;
    find("next").disabled = state.page === last;
    for (const head of document.querySelectorAll("#table th[data-sort]")) {
      head.setAttribute("aria-sort", head.dataset.sort !== state.sort ? "none"
        : state.down ? "descending" : "ascending");
    }
  }
  const search = () => { state.found = chosen(); state.page = 0; draw(); };
  const turn = by => { state.page += by; draw(); find("table").scrollIntoView({block: "start"}); };

  for (const head of document.querySelectorAll("#table th[data-sort]")) {
    const button = make("button", {type: "button"}, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      state.down = state.sort === head.dataset.sort && !state.down;
      state.sort = head.dataset.sort;
      search();
    });
  }
  for (const link of document.querySelectorAll('a[href="#results"]')) {
    link.addEventListener("click", () => {
      form.reset();
      for (const field of filters) if (link.dataset[field.name]) field.value = link.dataset[field.name];
      search();
    });
  }
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("input", search);
  form.addEventListener("reset", () => setTimeout(search));
  find("before").addEventListener("click", () => turn(-1));
  find("next").addEventListener("click", () => turn(1));
  form.hidden = find("pages").hidden = false;
  draw();
})();
