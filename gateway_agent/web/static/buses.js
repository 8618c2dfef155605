// Buses: what each device costs, predicted and measured, and the frames that pass now.
"use strict";

const MOST_FRAMES = 200;

function percent(share) {
  return `${(100 * share).toLocaleString(language, { maximumFractionDigits: 1 })} %`;
}

function both(now, predicted) {
  return [now, el("div", { class: "under" }, word("predicted", predicted))];
}

function causes(found) {
  const rows = Object.entries(found);
  return rows.length ? rows.map(([cause, count]) => el("div", {}, `${word(cause)} ${number(count)}`)) : "0";
}

async function busesPage() {
  const { buses, errors } = await get("buses");
  const found = Object.entries(errors);
  return [el("h1", {}, word("buses")), buses.map((bus) => busCard(bus)), card(word("errors_by"), el("div", { class: "body" },
    found.length ? facts(found.map(([cause, count]) => [cause, number(count)]))
      : el("span", { class: "soft" }, word("none"))))];
}

function busCard(bus) {
  const isLink = bus.type === "link";
  const head = el("div", { class: "head" },
    el("h2", {}, bus.name, " ", el("span", { class: "soft" }, `${bus.type} · ${bus.where}`)),
    isLink ? el("span", { class: "soft" }, word("pushes"))
      : el("a", { href: `#frames/${encodeURIComponent(bus.name)}`, "data-key": `frames-${bus.name}` }, word("live_frames")));
  const use = isLink ? null : el("div", { class: "body" }, facts([
    ["used", [`${percent(bus.share_now)} `, meter(bus.share_now)]], ["share", [`${percent(bus.share)} `, meter(bus.share)]],
    ["cycle", duration(bus.cycle_now_ms)], ["predicted_cycle", duration(bus.cycle_ms)],
    ["rate", `${number(Math.round(bus.bytes_per_s))} B/s`], ["errors", causes(bus.causes)]]));
  const rows = bus.devices.map((device) => ({ class: device.state, cells: [
    el("a", { href: `#device/${encodeURIComponent(device.name)}`, "data-key": device.name }, device.name),
    pill(device.state, STATE[device.state]), duration(device.period_ms),
    isLink ? "–" : both(duration(device.poll_now_ms), duration(device.poll_ms)),
    isLink ? "–" : both(percent(device.share_now), percent(device.share)),
    number(device.polls), isLink ? number(device.errors) : causes(device.causes), number(device.skipped)] }));
  return card(head, bus.warnings.map((text) => el("p", { class: "body soft" }, `⚠ ${text}`)), use,
    table([["name"], ["state"], ["period", "number"], ["poll", "number"], ["of_bus", "number"],
      ["real", "number"], ["errors", "number"], ["skipped", "number"]], rows));
}

async function framesPage(bus) {
  const body = el("tbody", {});
  const problem = el("p", { class: "why", role: "alert" });
  let isPaused = false;
  const pause = button("pause", "frames", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
  });
  pause.setAttribute("aria-pressed", "false");
  const columns = ["time", "kind", "text", "bytes"];
  const frames = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": word("live_frames") },
    el("table", { class: "stack lines" }, el("thead", {}, el("tr", {}, columns.map((key) =>
      el("th", { scope: "col" }, word(key))))), body));

  function add(frame) {
    if (isPaused) return;
    const at = new Date(frame.t_ms).toISOString().slice(11, 23);
    const lost = frame.lost ? el("div", { class: "why" }, word("frames_lost", frame.lost)) : null;
    const cells = [at, frame.kind, [frame.text, lost], frame.data];
    const row = el("tr", { class: frame.kind === "damaged" ? "ERROR" : "" }, cells.map((cell, index) =>
      el("td", { class: index ? "" : "title nowrap", "data-label": word(columns[index]) }, cell)));
    body.prepend(row);
    if (body.children.length > MOST_FRAMES) body.lastElementChild.remove();
  }

  function watch() {
    const source = new EventSource(`/api/v1/buses/${encodeURIComponent(bus)}/frames`);
    source.addEventListener("frame", (event) => {
      if (body.isConnected) add(JSON.parse(event.data)); else source.close();
    });
    source.addEventListener("problem", (event) => {
      problem.textContent = JSON.parse(event.data).error;
      source.close();
    });
    window.addEventListener("hashchange", () => source.close(), { once: true });
  }

  return [[el("p", {}, el("a", { href: "#buses" }, `← ${word("buses")}`)), el("h1", {}, `${word("live_frames")} · ${bus}`),
    problem, card(el("div", { class: "head" }, el("span", { class: "soft" }, word("newest_first")), pause), frames)], watch];
}
