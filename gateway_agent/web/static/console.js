// The console: one page per hash, drawn from /api/v1. Text from outside enters as text only.
"use strict";

const PAGES = ["overview", "buses", "outbox", "alarms", "events", "log", "config"];
const REFRESH_MS = 5000;

let newest = null; // the overview that came last
let charts = [];
let timer = 0;
let isFollowing = false;
let shownHeader = "";
let turn = 0; // of the page shown: an answer for an earlier one is dropped
let hours = 48;

// --- pages -------------------------------------------------------------------------------------

function overviewPage() {
  if (newest === null) return null;
  const working = newest.devices.filter((device) => device.state === "ok").length;
  const all = newest.devices.length;
  const tiles = el("dl", { class: "tiles" },
    tile("working", [`${working}`, el("small", {}, ` / ${all}`)], working === all ? "good" : "bad"),
    tile("unaccounted", number(newest.unaccounted), newest.unaccounted ? "bad" : "good"),
    tile("waiting", newest.outbox ? number(newest.outbox.depth) : "–", ""),
    tile("oldest", newest.outbox ? bytes(newest.outbox.file_bytes) : "–", ""));
  const rows = newest.devices.map((device) => ({
    class: device.state,
    cells: [
      [el("a", { href: `#device/${encodeURIComponent(device.name)}`, "data-key": device.name }, device.name),
        el("div", { class: "under" }, `${device.bus} · ${device.role}`)],
      pill(device.state, STATE[device.state]),
      age(device.age_ms),
      [valueList(device.values), device.problem ? el("div", { class: "why" }, device.problem) : null],
    ],
  }));
  return [el("h1", {}, word("overview")), tiles,
    card(word("devices"), table([["name"], ["state"], ["age", "nowrap"], ["values"]], rows))];
}

function tile(key, value, kind) {
  return el("div", { class: `tile ${kind}` }, el("dt", {}, word(key)), el("dd", {}, value));
}

async function devicePage(name) {
  const from = Date.now() - hours * 3600 * 1000;
  const path = `devices/${encodeURIComponent(name)}`;
  const [device, history] = await Promise.all([
    get(path), get(`${path}/history?from_ms=${Math.floor(from)}`)]);
  const buttons = [1, 6, 24, 48].map((count) => {
    const button = el("button", { type: "button", "aria-pressed": String(hours === count), "data-key": `h${count}` },
      word("hours", count));
    button.addEventListener("click", () => { hours = count; show(); });
    return button;
  });
  const head = el("div", { class: "head" }, el("h2", {}, word("history")),
    el("div", { class: "buttons", role: "group", "aria-label": word("range") }, buttons));
  const boxes = history.points.map((point) => el("div", { class: "chart" },
    el("h3", {}, point.name, el("span", { class: "soft" }, unitOf(point.unit)),
      el("span", { class: "now" }, lastOf(device, point))),
    el("div", { class: "plot", role: "img", "aria-label": described(point) })));
  const gapRows = history.gaps.slice().reverse().map((gap) => ({
    cells: [moment(gap.from_ms), moment(gap.to_ms), duration(gap.to_ms - gap.from_ms), word(gap.cause)] }));
  const page = [
    el("p", {}, el("a", { href: "#overview" }, `← ${word("back")}`)),
    el("h1", {}, device.name, " ", pill(device.state, STATE[device.state])),
    device.problem ? el("p", { class: "banner" }, device.problem) : null,
    card(word("values"), el("div", { class: "body" }, facts([
      ...device.values.map((point) => [point.name,
        point.quality ? word(point.quality) : `${point.text || number(point.value)} ${unitOf(point.unit)}`]),
      ["age", age(device.age_ms)]]))),
    card(head, boxes.length ? boxes : el("div", { class: "body soft" }, word("nohistory"))),
    orderCard(device),
    card(word("gaps"), gapRows.length
      ? table([["from", "nowrap"], ["to", "nowrap"], ["lasted", "nowrap"], ["cause"]], gapRows)
      : el("div", { class: "body soft" }, word("nogaps"))),
    card(device.id, el("div", { class: "body" }, facts([
      ["bus", device.bus], ["unit", String(device.unit)], ["role", device.role],
      ["auth", word(`auth_${device.auth}`)], ["polls", number(device.polls)],
      ["errors", number(device.errors)], ["skipped", number(device.skipped)]]))),
  ];
  return [page, () => history.points.forEach((point, index) =>
    draw(boxes[index].querySelector(".plot"), history, point, from))];
}

function lastOf(device, point) {
  const found = device.values.find((value) => value.name === point.name);
  return found && !found.quality ? `${number(found.value)} ${unitOf(found.unit)}` : "";
}

function described(point) {
  const values = point.values.filter((value) => value !== null);
  if (!values.length) return `${point.name}: –`;
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  return `${point.name}: ${number(low)} … ${number(high)} ${unitOf(point.unit)}`;
}

// Draw one point over time; a gap is a shaded band with its cause.
function draw(box, history, point, from) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false },
    font: "12px system-ui, sans-serif" };
  const bands = (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const gap of history.gaps) {
      const left = plot.valToPos(gap.from_ms / 1000, "x", true);
      const width = Math.max(2, plot.valToPos(gap.to_ms / 1000, "x", true) - left);
      ctx.fillStyle = color("--bad-ground");
      ctx.fillRect(left, bbox.top, width, bbox.height);
      ctx.fillStyle = color("--bad");
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textBaseline = "top";
      const text = word(gap.cause);
      if (ctx.measureText(text).width + 4 < width) ctx.fillText(text, left + 3, bbox.top + 6);
    }
    ctx.restore();
  };
  const plot = new uPlot({
    width: box.clientWidth, height: 170, cursor: { y: false }, legend: { show: false },
    hooks: { drawClear: [bands] },
    scales: { x: { range: () => [from / 1000, Date.now() / 1000] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => shortTime(tick)) }, { ...axis, size: 60 }],
    series: [{}, { stroke: color("--accent"), width: 2, fill: `${color("--accent")}18`, spanGaps: false,
      points: { show: point.values.length < 40 } }],
  }, [history.t_ms.map((ms) => ms / 1000), point.values], box);
  charts.push([plot, box]);
}

function shortTime(seconds) {
  const at = new Date(seconds * 1000);
  const midnight = at.getHours() === 0 && at.getMinutes() === 0;
  const locale = language === "zh" ? "zh-CN" : "en-GB";
  return midnight ? at.toLocaleDateString(locale, { month: "short", day: "numeric" })
    : at.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
}

async function outboxPage() {
  const { outbox, uplinks, exporters, notify, reconciliation, longest_wait_ms: longest, waiting_for: waiting, counters } =
    await get("outbox");
  const state = (is) => pill(is ? "connected" : "disconnected", is ? "good" : "bad");
  const rows = uplinks.map((uplink) => ({ cells: [
    uplink.broker, [state(uplink.connected), why(uplink.problem || uplink.receipt_problem)],
    [uplink.receipt, uplink.receipt_ms ? el("div", { class: "under" }, word("newest_receipt", moment(uplink.receipt_ms))) : null],
    outbox ? number(outbox.depth) : "–"] }));
  rows.push(...exporters.map((one) => ({ cells: [
    `${one.name} · ${one.type}`, [state(one.connected), why(one.problem)], one.where, number(one.behind)] })));
  const found = Object.entries(counters).flatMap(([name, value]) => typeof value === "number"
    ? [[name, number(value)]] : Object.entries(value).map(([cause, count]) => [`${name} ${cause}`, number(count)]));
  return [el("h1", {}, word("outbox")),
    waiting ? el("p", { class: "banner" }, waiting) : null,
    outbox && outbox.full ? el("p", { class: "banner" }, outbox.full) : null,
    outbox ? el("dl", { class: "tiles" },
      tile("waiting", number(outbox.depth), ""), tile("last", number(outbox.last), ""),
      tile("receipted", number(outbox.receipted_to), ""),
      tile("file", [bytes(outbox.file_bytes), el("small", {}, ` / ${bytes(outbox.max_bytes)}`)], "")) : null,
    outbox ? card(word("chain"), el("div", { class: "body" }, facts([
      ["stream", String(outbox.stream)], ["oldest_record", longest === null ? "–" : age(longest)],
      ["head", el("code", {}, outbox.head)]]))) : null,
    card(word("uplinks"), table([["name"], ["state"], ["proof"], ["behind", "number"]], rows)),
    notify.length ? card(word("notify"), table([["name"], ["state"], ["behind", "number"], ["sent", "number"]],
      notify.map((one) => ({ cells: [`${one.name} · ${one.type}`, [pill(one.problem ? "failing" : "ok",
        one.problem ? "bad" : "good"), why(one.problem)], number(one.waiting || 0), number(one.sent || 0)] })))) : null,
    reconciliation ? card(word("checks"), el("div", { class: "body" },
      facts(["sequence", "schedule", "receipts", "archive"].map((key) => [key, number(reconciliation[key])])),
      el("p", { class: "soft" }, word("checks_note")))) : null,
    card(word("counters"), el("div", { class: "body" }, facts(found)))];
}

function why(text) {
  return text ? el("div", { class: "why" }, text) : null;
}

async function eventsPage() {
  const { events } = await get("events");
  const kinds = { problem: "bad", alarm: "bad", solved: "good", node: "wait" };
  const rows = events.map((event) => ({ cells: [
    moment(event.t_ms), pill(event.kind, kinds[event.kind]), event.what, event.text] }));
  return [el("h1", {}, word("events")), rows.length
    ? el("section", { class: "card" }, table([["time", "nowrap"], ["state"], ["what"], ["text"]], rows))
    : el("p", { class: "soft" }, word("noevents"))];
}

async function logPage() {
  const { lines } = await get("log");
  const rows = lines.map((line) => ({ class: line.level, cells: [
    moment(line.t_ms), line.level, line.source, line.text] }));
  return [el("h1", {}, word("log")), el("section", { class: "card" },
    table([["time", "nowrap"], ["level"], ["source"], ["text"]], rows, "stack lines"))];
}

const DRAW = { overview: overviewPage, alarms: alarmsPage, buses: busesPage, outbox: outboxPage, events: eventsPage, log: logPage,
  config: configPage, api: apiPage, frames: framesPage };

// --- showing -----------------------------------------------------------------------------------

function where() {
  const [page, name] = (location.hash.slice(1) || "overview").split("/", 2);
  return [["device", "api", "frames"].includes(page) || PAGES.includes(page) ? page : "overview", decodeURIComponent(name || "")];
}

// Draw the page of the address. A page that is drawn again keeps the focus where it was.
async function show(isNew = false) {
  const [page, name] = where();
  if (!isNew && isTyping()) { // what is typed would be lost
    clearTimeout(timer);
    timer = setTimeout(show, REFRESH_MS);
    return;
  }
  const own = ++turn;
  clearTimeout(timer);
  let drawn;
  try {
    if (session === null) await readSession();
    if (!session.must_log_in && !isFollowing) follow();
    if (session.must_log_in) drawn = logInPage();
    else drawn = page === "device" ? await devicePage(name) : await DRAW[page](name);
  } catch (error) {
    if (error instanceof LoggedOut) return show();
    drawn = [el("p", { class: "banner", role: "alert" }, word("page_failed", error.message))];
  }
  if (own !== turn || drawn === null) return;
  const [content, then] = typeof drawn[1] === "function" ? drawn : [drawn, null];
  const main = document.getElementById("main");
  const focused = main.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const scrolled = window.scrollY;
  charts.forEach(([plot]) => plot.destroy());
  charts = [];
  main.replaceChildren(...content.flat(Infinity).filter((child) => child));
  if (then !== null) then();
  if (!performance.getEntriesByName("interactive").length) performance.mark("interactive"); // make bench
  if (focused) main.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  if (isNew) { window.scrollTo(0, 0); main.focus(); } else window.scrollTo(0, scrolled);
  header(page);
  document.body.dataset.page = session?.must_log_in ? "log-in" : page;
  if (session?.must_log_in) return;
  if (!["overview", "config", "api", "frames"].includes(page)) {
    timer = setTimeout(show, page === "device" ? 2 * REFRESH_MS : REFRESH_MS);
  }
}

function isTyping() {
  return document.body.dataset.page !== "log-in" && document.activeElement.matches("#main input:not([type=checkbox]), #main textarea, #main select");
}

function header(page) {
  const is = JSON.stringify([language, page, session]);
  if (is === shownHeader) return banner(); // who is in it by keyboard stays where they are
  shownHeader = is;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.getElementById("nav").replaceChildren(...PAGES.map((key) => el("a", {
    href: `#${key}`, "aria-current": key === page || (page === "device" && key === "overview") ? "page" : null },
  word(key))));
  document.querySelector("[data-word=skip]").textContent = word("skip");
  document.getElementById("nav").hidden = session === null || session.must_log_in;
  showSession();
  const button = document.getElementById("language");
  button.textContent = language === "zh" ? "English" : "中文";
  button.lang = language === "zh" ? "en" : "zh";
  banner();
}

function banner() {
  if (newest === null || session.must_log_in) return;
  document.title = `${newest.ok ? "" : "▲ "}${newest.gateway} · ${word(where()[0])}`;
  document.getElementById("gateway").textContent = newest.gateway;
  document.getElementById("uptime").textContent = word("up", duration(newest.running_ms));
  const count = newest.problems.length;
  const texts = newest.problems.slice(0, 6).map((problem) => `${problem.what}: ${problem.text}`);
  const made = newest.ok
    ? el("div", { class: "banner good" }, word("flows"))
    : el("div", { class: "banner" }, el("strong", {}, count === 1 ? word("stopped1") : word("stopped", count)),
      el("ul", {}, [...newest.alarms, ...texts].map((text) => el("li", {}, text))));
  const box = document.getElementById("banner");
  const shown = box.firstElementChild;
  // A reader of the screen hears a change only, not the same text once a second.
  if (shown === null || shown.textContent !== made.textContent) box.replaceChildren(made);
}

function live(isOn) {
  const shown = document.getElementById("live");
  shown.className = isOn ? "live on" : "live off";
  const text = word(isOn ? "live" : "lost");
  if (shown.textContent !== text) shown.textContent = text;
}

function follow() {
  isFollowing = true;
  const source = new EventSource("/api/v1/live");
  source.addEventListener("overview", (event) => {
    newest = JSON.parse(event.data);
    live(true);
    banner();
    if (where()[0] === "overview") show();
  });
  source.addEventListener("error", async () => {
    live(false);
    if (source.readyState !== EventSource.CLOSED) return;
    isFollowing = false;
    try {
      await readSession();
    } catch { /* the gateway is away: the next attempt finds out */ }
    setTimeout(show, session?.must_log_in ? 0 : REFRESH_MS);
  });
}

function begin() {
  const kept = localStorage.getItem("language");
  language = kept || (navigator.language.startsWith("zh") ? "zh" : "en");
  document.getElementById("language").addEventListener("click", () => {
    language = language === "zh" ? "en" : "zh";
    localStorage.setItem("language", language);
    show();
  });
  window.addEventListener("hashchange", () => show(true));
  window.addEventListener("resize", () => charts.forEach(([plot, box]) =>
    plot.setSize({ width: box.clientWidth, height: 170 })));
  header(where()[0]);
  show();
}

document.addEventListener("DOMContentLoaded", begin);
