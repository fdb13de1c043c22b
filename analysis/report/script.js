"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// --- light and dark -------------------------------------------------------------------------------------------------
document.getElementById("theme").addEventListener("input", (event) => {
  document.documentElement.style.colorScheme = event.target.value;
});

// --- charts ---------------------------------------------------------------------------------------------------------
const specs = JSON.parse(document.getElementById("specs").textContent);
const sources = Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, JSON.stringify(spec)]));
const charts = all(".chart");
const views = new Map();

// A chart's form, if it has one, says what the words in ${...} stand for.
function chosen(form) {
  if (!form) return {};
  const data = new FormData(form);
  const labels = all("select", form).map((select) => [`${select.name}.label`, select.selectedOptions[0].text]);
  return { ...Object.fromEntries(data), ...Object.fromEntries(labels), methods: `|${data.getAll("methods").join("|")}|` };
}

function filled(source, values) {
  return source.replace(/\$\{([\w.]+)\}/g, (whole, name) => (name in values ? JSON.stringify(values[name]).slice(1, -1) : whole));
}

function formOf(chart) {
  const group = chart.closest("[id^=by-]");
  return group && document.querySelector(`form[data-charts=${group.id}]`);
}

async function draw(chart) {
  const values = chosen(formOf(chart));
  const panel = chart.closest(".panel");
  if (panel.dataset.captions) {
    const captions = JSON.parse(panel.dataset.captions);
    panel.querySelector(".which").textContent = captions[Number(values.size)] ?? "no such size";
  }
  const spec = JSON.parse(filled(sources[chart.dataset.spec], values));
  const drawing = vegaEmbed(chart, spec, {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, logLevel: 1,
    tooltip: { theme: "page", disableDefaultStyle: true },
  });
  const before = views.get(chart);
  views.set(chart, drawing);
  if (before) (await before).finalize();
  await drawing;
  chart.dataset.drawn = "yes";
}

// Only what is in sight is drawn, and drawn again when its form has changed.
const stale = new Set(charts);
const seen = new Set();
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) seen.add(target);
    else seen.delete(target);
  }
  refresh();
}, { rootMargin: "200px" });

function refresh() {
  for (const chart of seen) if (stale.delete(chart)) draw(chart);
}

charts.forEach((chart) => sight.observe(chart));
addEventListener("beforeprint", () => charts.forEach((chart) => stale.delete(chart) && draw(chart)));

for (const form of all("form[data-charts]")) {
  const redraw = () => {
    all(".chart", document.getElementById(form.dataset.charts)).forEach((chart) => stale.add(chart));
    refresh();
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", redraw);
  form.addEventListener("reset", () => setTimeout(redraw));
  form.querySelector(".preset")?.addEventListener("click", (event) => {
    for (const [name, value] of Object.entries(JSON.parse(event.target.dataset.set))) form.elements[name].value = value;
    const wanted = event.target.dataset.methods.split(" ");
    for (const box of all("input[name=methods]", form)) box.checked = wanted.includes(box.dataset.method);
    redraw();
  });
}

// --- tables: sorting ------------------------------------------------------------------------------------------------
function valueOf(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
  const text = cell.textContent.trim();
  return text === "" || text === "–" || cell.classList.contains("absent") || cell.classList.contains("right") ? null : text;
}

function sort(table, header) {
  const column = header.cellIndex;
  const order = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  all("th[aria-sort]", table).forEach((each) => each.setAttribute("aria-sort", each === header ? order : "none"));
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // what has no value stands last either way
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
  table.classList.add("sorted");
}

for (const button of all("th[aria-sort] button")) {
  button.addEventListener("click", () => sort(button.closest("table"), button.closest("th")));
}

// --- tables: filters ------------------------------------------------------------------------------------------------
for (const form of all("form[data-filters]")) {
  const rows = all("tbody tr", document.getElementById(form.dataset.filters));
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const apply = () => {
    const wanted = [...new FormData(form)].filter(([name, value]) => value !== "" && name !== "find");
    const words = (form.elements.find?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !(wanted.every(([name, value]) => row.dataset[name] === value)
        && words.every((word) => texts.get(row).includes(word)));
      shown += !row.hidden;
    }
    form.querySelector("output").textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  apply();
}

// --- Table 1: raw numbers on hover, and by the arrow keys -----------------------------------------------------------
const tip = document.getElementById("tip");
const fields = all("td[data-tip]");

function tell(field) {
  tip.textContent = field.dataset.tip;
  tip.hidden = false;
  const box = field.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.right - tip.offsetWidth), innerWidth - tip.offsetWidth - 8);
  const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.left = `${left}px`;
  tip.style.top = `${below ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
}

const hush = () => { tip.hidden = true; };
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

fields.forEach((field, i) => {
  field.tabIndex = i ? -1 : 0;
  field.setAttribute("aria-describedby", "tip");
  field.addEventListener("pointerenter", () => tell(field));
  field.addEventListener("pointerleave", hush);
  field.addEventListener("focus", () => tell(field));
  field.addEventListener("blur", hush);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hush();
    if (!(event.key in STEPS)) return;
    const [down, right] = STEPS[event.key];
    const rows = all("tbody tr:not([hidden])", field.closest("table"));
    let [r, c] = [rows.indexOf(field.parentElement), field.cellIndex];
    let next;
    do {
      [r, c] = [r + down, c + right];
      next = rows[r]?.cells[c];
    } while (next && !next.dataset.tip);
    if (!next) return;
    event.preventDefault();
    field.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
});
addEventListener("scroll", hush, { capture: true, passive: true });

// --- commands -------------------------------------------------------------------------------------------------------
for (const button of all("button.copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    getSelection().selectAllChildren(code); // where a page from a file may not write the clipboard, Ctrl-C does
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected";
    }
  });
}

// --- where we are ---------------------------------------------------------------------------------------------------
const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
const place = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(target.id)?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-20% 0px -75% 0px" });
all("main section").forEach((section) => place.observe(section));
