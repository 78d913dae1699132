// The console: what the sandbox tells over server-sent events is drawn, what is clicked is asked for.

const KEPT = 500; // requests in the page
const POINTS = 240; // of a chart
const WINDOW = 300; // seconds of activity

const $ = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// -- asking

async function ask(method, path, body, type = "application/json") {
  const reply = await fetch(`api/${path}`, {
    method,
    body,
    headers: body === undefined ? {} : { "Content-Type": type },
  });
  const data = await reply.json().catch(() => ({}));
  if (!reply.ok && !data.problems) throw new Error(data.error ?? `the console answered ${reply.status}`);
  return data;
}

let toastTimer = 0;
function complain(error) {
  const toast = $("toast");
  toast.textContent = `That did not work: ${error.message}`;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 6000);
}

// -- time: the sandbox's clock, which may be another than the browser's

let offset = 0;
const now = () => Date.now() / 1000 + offset;

function ago(time) {
  const seconds = Math.max(0, now() - time);
  if (seconds < 1.5) return "just now";
  return `${lasting(seconds)} ago`;
}

// The two largest units, no more.
function lasting(seconds, units = 2) {
  let left = Math.round(seconds);
  const parts = [];
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
  }
  return parts.slice(0, units).join(" ") || "0 s";
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const number = new Intl.NumberFormat();

// -- state

let state = null;
let stateAt = 0;

function drawState() {
  setText($("address"), `https://${state.address}`);
  for (const [name, count] of Object.entries(state.counts)) {
    const node = $(`count-${name}`);
    if (node) setText(node, number.format(count));
  }
  $("count-missing").classList.toggle("alarm", state.counts.missing > 0);
  $("count-duplicated").classList.toggle("warn", state.counts.duplicated > 0);
  drawPill();
  for (const input of document.querySelectorAll("[data-switch]")) {
    if (!input.disabled) input.checked = state.switches[input.dataset.switch];
  }
  drawOthers(state.faults.filter((fault) => !fault.switch));
  $("clear").hidden = !(state.down || state.faults.length || state.certificate !== "valid");
  drawScript();
  drawGateways();
  takeConfiguration(state.configuration);
}

function drawOthers(others) {
  const list = $("others"), shown = JSON.stringify(others);
  if (list.dataset.shown === shown) return; // what is clicked or focused must not be made anew
  list.dataset.shown = shown;
  list.replaceChildren(...others.map((fault) => {
    const remove = element("button", { type: "button", "aria-label": `Remove the fault ${fault.text}` }, "Remove");
    remove.addEventListener("click", () => ask("DELETE", `faults/${fault.id}`).catch(complain));
    return element("li", {}, element("span", {}, fault.text), remove);
  }));
}

function drawPill() {
  const pill = $("pill");
  let kind = "up", text = "Up";
  if (source.readyState !== EventSource.OPEN) [kind, text] = ["away", "Console away"];
  else if (state?.down) [kind, text] = ["down", "Outage"];
  else if (state && (state.faults.length || state.certificate !== "valid")) {
    const count = state.faults.length + (state.certificate === "valid" ? 0 : 1);
    [kind, text] = ["faults", count === 1 ? "1 fault in force" : `${count} faults in force`];
  }
  if (pill.dataset.state !== kind) pill.dataset.state = kind;
  setText(pill, text);
}

function drawScript() {
  const script = state.script;
  $("script").hidden = !script;
  if (!script) return;
  const passed = performance.now() / 1000 - stateAt;
  setText($("script-title"), script.title || script.name);
  $("script-progress").value = script.done ? 1 : Math.min(1, (script.seconds + passed) / (script.length || 1));
  const next = script.next.map(([seconds, text]) => [Math.max(0, seconds - passed), text]);
  $("script-next").replaceChildren(...(script.done
    ? [element("li", {}, element("span", {}, "done"), element("span", {}, "nothing more is to come"))]
    : next.map(([seconds, text]) => element("li", {}, element("span", {}, `in ${lasting(seconds)}`), element("span", {}, text)))));
}

// -- charts: SVG drawn by hand

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function short(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-3)) return value.toExponential(1);
  for (const [unit, name] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) return `${Number((value / (unit === 1e4 ? 1e3 : unit)).toPrecision(3))} ${name}`;
  }
  return String(Number(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)));
}

// A line with its area; points are [time, value] in the order of time.
function sparkline(points, floor) {
  const chart = svg("svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length === 0) return chart;
  const values = points.map((point) => point[1]);
  let low = Math.min(...values, ...(floor ?? [])), high = Math.max(...values, ...(floor ?? []));
  if (low === high) { low -= 1; high += 1; }
  const first = points[0][0], span = points[points.length - 1][0] - first || 1;
  const at = (point) => [
    points.length === 1 ? 100 : ((point[0] - first) / span) * 100,
    37 - ((point[1] - low) / (high - low)) * 34,
  ].map((number) => number.toFixed(2)).join(" ");
  const path = points.length === 1 ? `M0 ${at(points[0]).split(" ")[1]} L${at(points[0])}` : `M${points.map(at).join(" L")}`;
  chart.append(svg("path", { class: "area", d: `${path} L100 40 L0 40 Z` }), svg("path", { class: "line", d: path }));
  return chart;
}

// Bars of requests a slice of time, failed ones on top, behind them the times of trouble.
function activity(buckets, spans, now, seconds, slices) {
  const width = 1000, height = 56, step = width / slices, length = seconds / slices;
  // slices begin at whole multiples, so that bars do not change as they move
  const end = Math.ceil(now / length) * length, begin = end - seconds;
  const sums = Array.from({ length: slices }, () => [0, 0]);
  for (const [second, good, bad] of buckets) {
    const index = Math.floor((second - begin) / length);
    if (index >= 0 && index < slices) { sums[index][0] += good; sums[index][1] += bad; }
  }
  const most = Math.max(4, ...sums.map(([good, bad]) => good + bad));
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
  const x = (time) => ((Math.min(Math.max(time, begin), end) - begin) / seconds) * width;
  for (const [from, to] of spans) {
    const left = x(from), right = x(to ?? now);
    if (right > left) chart.append(svg("rect", { class: "band", x: left, y: 0, width: Math.max(right - left, 2), height }));
  }
  chart.append(svg("line", { class: "base", x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5 }));
  const scale = (count) => (count / most) * (height - 4);
  sums.forEach(([good, bad], index) => {
    const left = index * step + step * 0.14, wide = step * 0.72;
    if (good) chart.append(svg("rect", { class: "bar-ok", x: left, width: wide, y: height - scale(good), height: scale(good) }));
    if (bad) chart.append(svg("rect", { class: "bar-bad", x: left, width: wide, y: height - scale(good) - scale(bad), height: scale(bad) }));
  });
  const total = sums.reduce((sum, [good, bad]) => [sum[0] + good, sum[1] + bad], [0, 0]);
  chart.setAttribute("aria-label", `${total[0]} requests answered, ${total[1]} failed in the last ${Math.round(seconds / 60)} minutes`);
  return chart;
}

// -- gateways and figures

const series = new Map(); // gateway -> Map of "command name" -> {command, name, points}
// maps: names that arrive may be those of any object's own, as "constructor"
const TITLES = new Map([["cpuUsage", "Processor"], ["ramUsage", "Memory"]]);
const UNITS = new Map([["cpuUsage", " %"], ["ramUsage", " %"]]);
const articles = new Map(); // gateway -> {node, charts: Map of "command name" -> node}

function takeFigures(all) {
  for (const { gateway, command, name, points } of all) {
    if (!series.has(gateway)) series.set(gateway, new Map());
    const own = series.get(gateway), key = `${command}\n${name}`;
    if (!own.has(key)) own.set(key, { command, name, points: [] });
    const one = own.get(key);
    one.points = one.points.concat(points).slice(-POINTS);
    one.points.sort((a, b) => a[0] - b[0]); // a backlog comes late
  }
}

function drawGateways() {
  $("no-gateways").hidden = state.gateways.length > 0;
  const more = state.moreGateways;
  $("more-gateways").hidden = !more;
  setText($("more-gateways"), `${number.format(more)} more ${more === 1 ? "has" : "have"} called. The first ${state.gateways.length} are shown; the requests are those of all.`);
  for (const gateway of state.gateways) {
    if (!articles.has(gateway.identity)) {
      const made = element("article", { id: `gateway-${gateway.identity}`, class: "gateway", "aria-label": `Gateway ${gateway.identity}` },
        element("header", {}, element("h3", {}, gateway.identity), element("p", { class: "beat" })),
        element("p", { class: "facts" }), element("div", { class: "groups" }));
      articles.set(gateway.identity, { node: made, charts: new Map() });
      $("gateways").append(made);
    }
    const { node, charts } = articles.get(gateway.identity);
    drawBeat(node, gateway);
    setText(node.querySelector(".facts"), facts(gateway));
    drawCharts(node.querySelector(".groups"), series.get(gateway.identity), charts);
  }
}

function drawBeat(node, gateway) {
  const beat = node.querySelector(".beat");
  const never = gateway.heartbeat_time === null;
  setText(beat, never ? `no heartbeat yet · last request ${ago(gateway.last)}` : `heartbeat ${ago(gateway.heartbeat_time)}`);
}

function facts(gateway) {
  const beat = gateway.heartbeat ?? {};
  const boot = Date.parse(beat.bootTimestamp);
  const counts = Object.entries(beat)
    .filter(([name, value]) => typeof value === "number" && !TITLES.has(name))
    .map(([name, value]) => `${name} ${number.format(value)}`);
  return [
    gateway.address,
    gateway.agent.split(" ")[0],
    `${number.format(gateway.requests)} requests`,
    Number.isFinite(boot) ? `up ${lasting(now() - boot / 1000)}` : "",
    ...counts,
  ].filter(Boolean).join(" · ");
}

function drawCharts(root, own, charts) {
  if (!own) return;
  for (const [key, one] of own) {
    let node = charts.get(key);
    const last = one.points[one.points.length - 1];
    if (!node) {
      node = element("figure", { class: "chart" },
        element("header", {}, element("span", { class: "name" }, TITLES.get(one.name) ?? one.name), element("span", { class: "value" })),
        element("div", { class: "plot" }), element("div", { class: "range" }, element("span"), element("span")));
      node.querySelector(".name").title = one.name;
      charts.set(key, node);
      group(root, one).append(node);
    } else if (node.drawn === last && node.count === one.points.length) continue;
    node.drawn = last;
    node.count = one.points.length;
    const unit = UNITS.get(one.name) ?? "";
    setText(node.querySelector(".value"), short(last[1]) + unit);
    node.querySelector(".plot").replaceChildren(sparkline(one.points, unit ? [0, 10] : null));
    const [left, right] = node.querySelectorAll(".range span");
    setText(left, range(one.points.map((point) => point[1])));
    setText(right, lasting(last[0] - one.points[0][0], 1));
  }
}

// The charts of one command stand together, those of heartbeats first.
function group(root, { command, name }) {
  const title = TITLES.has(name) ? "Heartbeat" : command;
  let made = [...root.children].find((child) => child.dataset.title === title);
  if (!made) {
    made = element("section", { class: "group", "data-title": title, "aria-label": title }, element("h4", {}, title), element("div", { class: "charts" }));
    if (title === "Heartbeat") root.prepend(made);
    else root.append(made);
  }
  return made.lastChild;
}

function range(values) {
  const low = Math.min(...values), high = Math.max(...values);
  if (low === high) return "steady";
  if (short(low) === short(high)) return `± ${short((high - low) / 2)}`;
  return `${short(low)} – ${short(high)}`;
}

// -- activity

let buckets = new Map();

function takeActivity(all) {
  for (const bucket of all) buckets.set(bucket[0], bucket);
  const oldest = now() - 2 * WINDOW;
  for (const second of buckets.keys()) if (second < oldest) buckets.delete(second);
}

function drawActivity() {
  const slices = window.innerWidth < 600 ? 50 : 100;
  $("activity").replaceChildren(activity(buckets.values(), state.spans, now(), WINDOW, slices));
}

// -- requests

const requests = []; // the latest first: {data, node}
let paused = false;
let waiting = [];
const filter = { words: [], failed: false, whole: new Set() }; // whole: numbers, of long bodies
let searchTimer = 0;

const failed = (data) => !data.answered;

function matches(data) {
  if (filter.failed && !failed(data)) return false;
  if (!filter.words.length || filter.whole.has(data.number)) return true;
  const text = `${data.method} ${data.command} ${data.status ?? "none"} ${data.identity ?? ""} ${data.faults.join(" ")} ${data.body}`.toLowerCase();
  return filter.words.every((word) => text.includes(word));
}

function row(data) {
  const tags = element("span", { class: "tags" }, ...data.faults.map((fault) => element("span", { class: "tag" }, fault)));
  const summary = element("summary", {},
    element("time", { datetime: new Date(data.time * 1000).toISOString() }, clock.format(data.time * 1000)),
    element("span", { class: "status", title: data.status === null ? "There was no answer" : "HTTP status of the answer" }, data.status === null ? "none" : String(data.status)),
    element("span", { class: "command", title: data.command }, data.command),
    element("span", { class: "preview" }, data.body === "{}" ? "" : data.body.slice(0, 240)), tags);
  const details = element("details", { class: failed(data) ? "failed" : "" }, summary);
  details.addEventListener("toggle", () => { if (details.open) unfold(details, data); });
  return element("li", {}, details);
}

async function unfold(details, data) {
  if (details.childElementCount > 1) return;
  const detail = element("div", { class: "detail" }, element("p", { class: "hint" }, "Loading…"));
  details.append(detail);
  try {
    const whole = await ask("GET", `requests/${data.number}`);
    const list = element("dl");
    const add = (name, text) => list.append(element("dt", {}, name), element("dd", {}, text));
    add("Request", `${whole.method}, number ${whole.number}, on connection ${whole.connection} of ${whole.address}`);
    add("Gateway", whole.identity ?? "not identified");
    add("Outcome", whole.status === null ? (whole.processed ? "processed, but no answer was sent" : "not processed, no answer was sent")
      : `${whole.status}, ${whole.processed ? "processed" : "not processed"}`);
    for (const name of ["content-type", "user-agent"]) if (whole.headers[name]) add(name, whole.headers[name]);
    const body = element("pre", { tabindex: "0", "aria-label": "Body" }, pretty(whole) || "no body was read");
    detail.replaceChildren(list, body);
  } catch (error) {
    detail.replaceChildren(element("p", { class: "hint" }, error.message));
  }
}

function pretty(whole) {
  if (whole.cut) return `${whole.body}…`;
  try { return JSON.stringify(JSON.parse(whole.body), null, 2); } catch { return whole.body; }
}

function takeRequests(all) {
  if (paused) {
    waiting = waiting.concat(all).slice(-KEPT);
    setText($("pause"), waiting.length ? `Resume (${waiting.length})` : "Resume");
    return;
  }
  const list = $("request-list");
  const atTop = list.scrollTop < 4, height = list.scrollHeight;
  const fragment = document.createDocumentFragment();
  for (const data of [...all].reverse()) {
    const node = row(data);
    node.hidden = !matches(data);
    fragment.append(node);
  }
  const fresh = [...fragment.children];
  list.prepend(fragment);
  requests.unshift(...[...all].reverse().map((data, index) => ({ data, node: fresh[index] })));
  for (const { node } of requests.splice(KEPT)) node.remove();
  if (!atTop) list.scrollTop += list.scrollHeight - height; // what is read stays where it is
  tellEmpty();
  if (all.some((data) => data.cut)) searchWhole();
}

// Of a long body the page has the begin only: the sandbox looks into the rest.
function searchWhole() {
  if (searchTimer || !filter.words.length || !requests.some(({ data }) => data.cut)) return;
  searchTimer = setTimeout(async () => { // not put off by what arrives meanwhile
    searchTimer = 0;
    const { words } = filter;
    if (!words.length) return;
    try {
      const { numbers } = await ask("GET", `search?${new URLSearchParams({ words: words.join(" ") })}`);
      if (words !== filter.words) return; // others are typed by now
      filter.whole = new Set(numbers);
      showMatches();
    } catch (error) { complain(error); }
  }, 250);
}

function showMatches() {
  for (const { data, node } of requests) node.hidden = !matches(data);
  tellEmpty();
}

function tellEmpty() {
  const shown = requests.some(({ node }) => !node.hidden);
  $("no-requests").hidden = shown;
  $("request-list").hidden = !shown;
  setText($("no-requests"), requests.length ? "No request of the latest matches." : "Nothing has arrived yet.");
}

function refilter() {
  filter.words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  filter.failed = $("only-failed").checked;
  filter.whole = new Set();
  showMatches();
  searchWhole();
}

$("search").addEventListener("input", refilter);
$("only-failed").addEventListener("change", refilter);
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  setText($("pause"), paused ? "Resume" : "Pause");
  if (!paused) takeRequests(waiting.splice(0));
});

// -- faults

for (const input of document.querySelectorAll("[data-switch]")) {
  input.addEventListener("change", async () => {
    input.disabled = true; // until it is done: an outage waits for requests under way
    try {
      const { on } = await ask("PUT", `switches/${input.dataset.switch}`, JSON.stringify({ on: input.checked }));
      input.checked = on;
    } catch (error) {
      input.checked = !input.checked;
      complain(error);
    }
    const focused = document.activeElement === document.body;
    input.disabled = false;
    if (focused) input.focus({ preventScroll: true });
  });
}
for (const button of document.querySelectorAll("[data-action]")) {
  button.addEventListener("click", () => ask("POST", "actions", JSON.stringify({ [button.dataset.action]: true })).catch(complain));
}
$("clear").addEventListener("click", () => ask("DELETE", "faults").catch(complain));

// -- configuration

const editor = $("editor");
let published = null; // as the sandbox has it
let begun = null; // what the text was made from
let found = [];
let checkTimer = 0;

const dirty = () => begun !== null && editor.value !== begun;

function takeConfiguration(text) {
  if (text === published) return;
  const first = published === null;
  published = text;
  if (!dirty()) setEditor(text);
  else if (!first) setText($("published"), "Another configuration was published meanwhile.");
}

function setEditor(text) {
  begun = text;
  editor.value = text;
  showProblems([]);
  drawEditor();
}

function drawEditor() {
  const lines = editor.value.split("\n").length;
  const at = new Map(found.map((problem) => [problem.line, problem.fatal]));
  $("gutter").replaceChildren(...Array.from({ length: lines }, (_, index) => {
    const line = index + 1;
    return element("span", { class: at.has(line) ? (at.get(line) ? "at" : "at mild") : undefined }, String(line));
  }));
  $("gutter").scrollTop = editor.scrollTop;
  const broken = found.some((problem) => problem.fatal);
  $("editor-frame").classList.toggle("broken", broken);
  editor.setAttribute("aria-invalid", String(broken));
  $("revert").hidden = !dirty();
  const publish = $("publish");
  publish.disabled = !dirty() || broken;
  publish.classList.toggle("anyway", found.length > 0 && !broken);
  setText(publish, found.length && !broken ? "Publish anyway" : "Publish");
}

function showProblems(all) {
  found = all;
  $("problems").replaceChildren(...all.slice(0, 8).map((problem) => {
    const button = element("button", { type: "button" }, element("b", {}, `Line ${problem.line}, column ${problem.column}: `), problem.message);
    button.addEventListener("click", () => goTo(problem));
    return element("li", { class: problem.fatal ? undefined : "mild" }, button);
  }));
  drawEditor();
}

function goTo({ line, column }) {
  const lines = editor.value.split("\n");
  const at = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0) + column - 1;
  editor.focus();
  editor.setSelectionRange(at, Math.min(at + 1, editor.value.length));
  editor.scrollTop = Math.max(0, (line - 4) * 20);
}

async function recheck() {
  const text = editor.value;
  try {
    const { problems } = await ask("POST", "configuration/check", text);
    if (text === editor.value) showProblems(problems);
  } catch (error) { complain(error); }
}

editor.addEventListener("input", () => {
  setText($("published"), "");
  drawEditor();
  clearTimeout(checkTimer);
  checkTimer = setTimeout(recheck, 250);
});
editor.addEventListener("scroll", () => { $("gutter").scrollTop = editor.scrollTop; });
new ResizeObserver(() => { $("gutter").style.height = `${editor.offsetHeight}px`; }).observe(editor);
editor.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && ["s", "Enter"].includes(event.key)) {
    event.preventDefault();
    if (!$("publish").disabled) publish();
  }
});
$("revert").addEventListener("click", () => { setEditor(published); setText($("published"), ""); editor.focus(); });
$("publish").addEventListener("click", publish);

async function publish() {
  clearTimeout(checkTimer);
  const text = editor.value, anyway = $("publish").classList.contains("anyway") ? "?anyway" : "";
  try {
    const reply = await ask("PUT", `configuration${anyway}`, text);
    if (text !== editor.value) return;
    showProblems(reply.problems);
    if (!reply.done) { setText($("published"), "Not published."); return; }
    begun = text;
    setText($("published"), `Published at ${clock.format(Date.now())}.`);
    drawEditor();
  } catch (error) { complain(error); }
}

// -- live

const source = new EventSource("api/events");
const on = (name, take) => source.addEventListener(name, (event) => take(JSON.parse(event.data)));

source.addEventListener("open", () => { // after a break everything is told anew
  requests.splice(0).forEach(({ node }) => node.remove());
  waiting = [];
  series.clear();
  articles.clear(); // another sandbox may answer there now
  $("gateways").replaceChildren();
  state = null;
  buckets = new Map();
});
source.addEventListener("error", drawPill);
on("figures", takeFigures);
on("requests", (all) => { if (all.length) takeRequests(all); });
on("activity", takeActivity);
on("state", (data) => {
  state = data;
  stateAt = performance.now() / 1000;
  offset = data.now - Date.now() / 1000;
  drawState();
});
setInterval(() => {
  if (!state) return;
  drawPill();
  drawActivity();
  if (state.script && !state.script.done) drawScript();
  drawGateways();
}, 1000);
