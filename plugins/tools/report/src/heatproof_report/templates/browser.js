"use strict";
// The browser of all cases. Data are JSON in the page, or script files beside it that call heatproofData.
const browser = document.getElementById("browser");
const waiting = {};
function heatproofData(name, value) { waiting[name].done(value); }

function load(name) {
  if (waiting[name]) return waiting[name].promise;
  const entry = waiting[name] = {};
  entry.promise = new Promise((done, fail) => { entry.done = done; entry.fail = fail; });
  const inside = document.getElementById("data-" + name);
  if (inside) { entry.done(JSON.parse(inside.textContent)); return entry.promise; }
  const script = document.createElement("script");
  script.src = browser.dataset.address + "/" + name + ".js";
  script.onerror = () => { delete waiting[name]; entry.fail(new Error(script.getAttribute("src") + " is missing: keep the folder beside this page.")); };
  document.body.append(script);
  return entry.promise;
}

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const shown = (value) => value === null || value === undefined ? "–" : value.toFixed(3).replace("-", "−");
const brief = (value) => Number(value.toPrecision(3)).toString().replace("-", "−");

class Sheet {
  // The pixels of the tiles of a case: the original, a heatmap per method and a mask per finding.
  constructor(image, sizes) {
    [this.width, this.height, this.across, this.down, this.columns] = sizes;
    this.canvas = element("canvas", { width: image.width, height: image.height });
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.context.drawImage(image, 0, 0);
    this.tiles = {};
  }
  tile(index) {
    const x = index % this.columns * this.across, y = Math.floor(index / this.columns) * this.down;
    return this.tiles[index] ||= this.context.getImageData(x, y, this.width, this.height).data;
  }
}

function decode(address, sizes) {
  return new Promise((done, fail) => {
    const image = new Image();
    image.onload = () => done(new Sheet(image, sizes));
    image.onerror = () => fail(new Error("the image cannot be decoded"));
    image.src = address;
  });
}

let index, collection, state, options = { opacity: 0.8, scale: "own", off: new Set(), heat: false };
let palettes;

function palette(hex) {
  return Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
}

function common(scales) {
  const defined = scales.filter(Boolean), signed = defined.some((scale) => scale[2]) ? 1 : 0;
  const high = Math.max(...defined.map((scale) => scale[1]));
  return [signed ? -high : Math.min(...defined.map((scale) => scale[0])), high, signed];
}

function scaleOf(entry, method) {
  return options.scale === "common" ? common(entry.scales) : entry.scales[method];
}

function strengths(codes, from, to) {
  // The position of every pixel on the colour scale, and its strength, which decides opacity and contour.
  const count = codes.length / 4, positions = new Float32Array(count), sizes = new Float32Array(count);
  const span = to[1] - to[0] || 1;
  for (let pixel = 0; pixel < count; pixel++) {
    const value = from[0] + codes[4 * pixel] / 255 * (from[1] - from[0]);
    const position = Math.min(1, Math.max(0, (value - to[0]) / span));
    positions[pixel] = position;
    sizes[pixel] = to[2] ? Math.abs(2 * position - 1) : position;
  }
  return [positions, sizes];
}

function paint(pixels, codes, from, to) {
  const colours = to[2] ? palettes.signed : palettes.positive, [positions, sizes] = strengths(codes, from, to);
  for (let pixel = 0; pixel < sizes.length; pixel++) {
    const at = 4 * pixel, colour = 3 * Math.round(255 * positions[pixel]), share = options.opacity * Math.sqrt(sizes[pixel]);
    const grey = 0.8 * (0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2]);
    for (let channel = 0; channel < 3; channel++) pixels[at + channel] = share * colours[colour + channel] + (1 - share) * grey;
  }
  return sizes;
}

function outline(pixels, width, inside, colour) {
  // Colours the pixels just outside of a region.
  const count = pixels.length / 4;
  for (let pixel = 0; pixel < count; pixel++) {
    if (inside(pixel)) continue;
    const column = pixel % width;
    const beside = (column > 0 && inside(pixel - 1)) || (column < width - 1 && inside(pixel + 1)) ||
      (pixel >= width && inside(pixel - width)) || (pixel + width < count && inside(pixel + width));
    if (beside) for (let channel = 0; channel < 3; channel++) pixels[4 * pixel + channel] = colour[channel];
  }
}

function draw(canvas, sheet, entry, method) {
  // Draws the original (method −1) or a heatmap over it, with the contours that are switched on.
  const image = new ImageData(Uint8ClampedArray.from(sheet.tile(0)), sheet.width), pixels = image.data;
  canvas.width = sheet.width;
  canvas.height = sheet.height;
  if (method >= 0 && entry.scales[method]) {
    const sizes = paint(pixels, sheet.tile(1 + method), entry.scales[method], scaleOf(entry, method));
    if (options.heat) outline(pixels, sheet.width, (pixel) => sizes[pixel] >= 0.5, [255, 255, 255]);
  }
  for (const finding of entry.findings) {
    if (options.off.has(finding)) continue;
    const mask = sheet.tile(1 + collection.methods.length + finding);
    const colour = [...palette(collection.findings[finding][1].slice(1))];
    outline(pixels, sheet.width, (pixel) => mask[4 * pixel] > 127, colour);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

async function thumbnail(number) {
  const part = Math.floor(number / index.part);
  const images = await load(["thumbnails", index.collections.indexOf(collection), part].join("-"));
  return decode(images[number % index.part], collection.sizes[0]);
}

async function whole(number) {
  const image = await load(["case", index.collections.indexOf(collection), number].join("-"));
  return decode(image, collection.sizes[1]);
}

const control = (name) => browser.querySelector("[name=" + name + "]");
const metric = () => collection.metrics[control("metric").value];
const method = () => Number(control("method").value);

function cell(number, of = method()) {
  const row = metric() && metric().values[of];
  return row && row.length ? row[number] : undefined;
}

function value(number, of = method()) {
  const values = cell(number, of);
  return Array.isArray(values) && values.length ? values[0] : null;
}

const STATUSES = ["valid", "excluded", "invalid", "failed"];

function status(number, of = method()) {
  const values = cell(number, of);
  if (values === undefined) return "";
  return Array.isArray(values) ? "valid" : STATUSES[values.status];
}

function matches(number) {
  const entry = collection.cases[number], score = value(number);
  const text = control("search").value.trim().toLowerCase(), group = control("group").value;
  const low = control("low").value, high = control("high").value, finding = control("finding").value;
  return (!text || entry.id.toLowerCase().includes(text) || entry.patient.toLowerCase().includes(text)) &&
    (!control("label").value || entry.label === control("label").value) &&
    (!finding || (entry.findings || []).includes(Number(finding))) &&
    (!control("status").value || status(number) === control("status").value) &&
    (!low || (score !== null && score >= Number(low))) && (!high || (score !== null && score <= Number(high))) &&
    (!group || ((metric().groups[method()] || {})[group] || []).includes(number));
}

function ordered() {
  const numbers = collection.cases.map((_, number) => number).filter(matches), order = control("order").value;
  if (order === "id") return numbers;
  const sign = (order === "best") === metric().higher ? -1 : 1, last = Infinity;
  const key = (number) => value(number) === null ? last : sign * value(number);
  return numbers.sort((a, b) => key(a) === key(b) ? a - b : key(a) - key(b));
}

const list = browser.querySelector("[role=listbox]"), detail = document.getElementById("case"), large = document.getElementById("large");
const visible = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { visible.unobserve(entry.target); fill(entry.target); }
}, { rootMargin: "300px" });

async function fill(option) {
  const number = Number(option.dataset.number), entry = collection.cases[number];
  if (entry.problem) return;
  const sheet = await thumbnail(number);
  draw(option.querySelector("canvas"), sheet, entry, method());
}

function option(number) {
  const entry = collection.cases[number], state = status(number);
  const score = state && state !== "valid" ? state : shown(value(number));
  const size = collection.sizes[0] || [96, 96];
  return element("div", { role: "option", id: "option-" + number, tabindex: "-1", "aria-selected": "false", "data-number": number },
    entry.problem ? element("span", { class: "blank" }, "no image") : element("canvas", { width: size[0], height: size[1], "aria-hidden": "true" }),
    element("span", { class: "id" }, entry.id), element("span", { class: "muted" }, [score, entry.label].filter(Boolean).join(" · ")));
}

function refresh() {
  visible.disconnect();
  const numbers = ordered();
  list.replaceChildren(...numbers.map(option));
  for (const child of list.children) visible.observe(child);
  if (list.firstChild) list.firstChild.tabIndex = 0;
  browser.querySelector("[role=status]").textContent = numbers.length + " of " + collection.cases.length + " cases";
}

function move(event) {
  const children = [...list.children], at = children.indexOf(event.target.closest("[role=option]"));
  if (at < 0) return;
  const across = children.filter((child) => child.offsetTop === children[0].offsetTop).length;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -at, End: children.length - 1 - at };
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(Number(children[at].dataset.number)); }
  if (!(event.key in steps)) return;
  event.preventDefault();
  const next = children[Math.min(children.length - 1, Math.max(0, at + steps[event.key]))];
  children[at].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function facts(number) {
  const entry = collection.cases[number];
  const parts = ["patient " + entry.patient, entry.label && "label: " + entry.label, entry.predicted && "predicted: " + entry.predicted,
    entry.remark, entry.problem && "no image: " + entry.problem];
  return element("p", { class: "muted small" }, parts.filter(Boolean).join(" · "));
}

function scores(number, of) {
  const values = cell(number, of);
  if (values === undefined) return "";
  if (!Array.isArray(values)) return STATUSES[values.status] + ": " + metric().reasons[values.reason];
  return metric().measures.map((name, at) => name + " " + shown(values[at])).slice(0, 1).join(", ");
}

function panel(number, of) {
  const entry = collection.cases[number], name = of < 0 ? "Original with annotations" : collection.methods[of];
  const [width, height] = collection.sizes[1];
  const scale = of < 0 ? undefined : scaleOf(entry, of);
  const text = element("span", { class: "small muted" }, of < 0 ? "" : scores(number, of) || "–");
  const ends = element("span", { class: "small muted" }, scale ? brief(scale[0]) + " to " + brief(scale[1]) : of < 0 ? "" : "no heatmap");
  const canvas = element("canvas", { width, height, "aria-hidden": "true", "data-of": of });
  const button = element("button", { type: "button", class: "view", "aria-label": "Enlarge " + name + " of case " + entry.id }, canvas);
  button.addEventListener("click", () => enlarge(number, of));
  return element("figure", {}, button, element("figcaption", {}, element("strong", {}, name), text, ends));
}

async function open(number) {
  state = { number };
  const entry = collection.cases[number], panels = element("div", { class: "panels" });
  for (const child of list.children) child.setAttribute("aria-selected", String(Number(child.dataset.number) === number));
  detail.replaceChildren(element("h4", {}, entry.id), facts(number), panels);
  detail.hidden = false;
  detail.focus();
  if (entry.problem) return;
  panels.append(...[-1, ...collection.methods.keys()].map((of) => panel(number, of)));
  const current = state;
  const small = await thumbnail(number);
  if (current === state) repaint(state.sheet = small);
  try {
    const sheet = await whole(number);
    if (current === state) repaint(state.sheet = sheet);
  } catch (error) {
    if (current === state) detail.append(element("p", { class: "note small" }, "Only thumbnails can be shown: " + error.message));
  }
}

function repaint(sheet) {
  for (const canvas of detail.querySelectorAll("canvas")) draw(canvas, sheet, collection.cases[state.number], Number(canvas.dataset.of));
}

function enlarge(number, of) {
  state.of = of;
  const name = of < 0 ? "original" : collection.methods[of];
  large.querySelector("h3").textContent = collection.cases[number].id + " · " + name;
  large.querySelector("p").textContent = of < 0 ? "" : scores(number, of);
  draw(large.querySelector("canvas"), state.sheet, collection.cases[number], of);
  if (!large.open) large.showModal();
}

function turn(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const count = collection.methods.length + 1;
  enlarge(state.number, (state.of + 1 + step + count) % count - 1);
}

function again() {
  // After a change of display: the open case and the visible thumbnails are drawn anew.
  if (state && state.sheet) {
    const of = state.of;
    for (const caption of detail.querySelectorAll("figure")) {
      const at = Number(caption.querySelector("canvas").dataset.of), scale = at >= 0 && scaleOf(collection.cases[state.number], at);
      if (scale) caption.querySelector("figcaption").lastChild.textContent = brief(scale[0]) + " to " + brief(scale[1]);
    }
    repaint(state.sheet);
    if (large.open) enlarge(state.number, of);
  }
  for (const child of list.children) visible.observe(child);
}

function choices(name, pairs) {
  control(name).replaceChildren(...pairs.map(([value, text]) => element("option", { value }, text)));
  control(name).closest("label").hidden = pairs.length < 2;
}

function contours() {
  const boxes = collection.findings.map(([name, colour], finding) => {
    const box = element("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => { options.off[box.checked ? "delete" : "add"](finding); again(); });
    const key = element("span", { class: "key" });
    key.style.background = colour;
    return element("label", {}, box, key, name);
  });
  options.off.clear();
  document.getElementById("contours").replaceChildren(...boxes);
}

function select(number) {
  collection = index.collections[number];
  state = undefined;
  detail.hidden = true;
  const labels = [...new Set(collection.cases.map((entry) => entry.label).filter(Boolean))].sort();
  choices("metric", collection.metrics.map((entry, at) => [at, entry.name + ": " + entry.measures[0]]));
  choices("method", collection.methods.map((name, at) => [at, name]));
  choices("label", [["", "all"], ...labels.map((name) => [name, name])]);
  choices("finding", [["", "all"], ...collection.findings.map(([name], at) => [at, name])]);
  contours();
  refresh();
}

function listen() {
  control("collection").addEventListener("change", (event) => select(Number(event.target.value)));
  for (const name of ["metric", "method", "label", "finding", "status", "group", "order"]) control(name).addEventListener("change", refresh);
  for (const name of ["search", "low", "high"]) control(name).addEventListener("input", refresh);
  control("opacity").addEventListener("input", (event) => { options.opacity = event.target.value / 100; again(); });
  control("heat").addEventListener("change", (event) => { options.heat = event.target.checked; again(); });
  for (const radio of browser.querySelectorAll("[name=scale]")) radio.addEventListener("change", () => { options.scale = radio.value; again(); });
  list.addEventListener("keydown", move);
  list.addEventListener("click", (event) => { const chosen = event.target.closest("[role=option]"); if (chosen) open(Number(chosen.dataset.number)); });
  detail.addEventListener("keydown", (event) => { if (event.key === "Escape") document.getElementById("option-" + state.number)?.focus(); });
  large.addEventListener("keydown", turn);
  large.querySelector("button").addEventListener("click", () => large.close());
}

async function begin() {
  index = await load("index");
  palettes = { positive: palette(index.colours.positive), signed: palette(index.colours.signed) };
  browser.hidden = false;
  choices("collection", index.collections.map((entry, at) => [at, entry.name]));
  listen();
  select(0);
}

if (browser) begin();
