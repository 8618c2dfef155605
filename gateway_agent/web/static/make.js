// What every page is made of: elements, tables, numbers and times. Text enters as text only.
"use strict";

const STATE = { ok: "good", failing: "bad", quarantined: "bad", new: "wait" };
const UNITS = { Cel: "°C", "%RH": "%", "ug/m3": "µg/m³", "mg/L": "mg/L", "/": "", count: "" };

// --- making elements ---------------------------------------------------------------------------

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

function table(columns, rows, kind = "stack") {
  const head = columns.map(([key, type]) => el("th", { scope: "col", class: type }, word(key)));
  const body = rows.map(({ cells, ...attributes }) =>
    el("tr", attributes, cells.map((cell, index) => {
      const [key, type] = columns[index];
      return el("td", { class: index ? type : `${type || ""} title`, "data-label": word(key) }, cell);
    })));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": word(columns[0][0]) },
    el("table", { class: kind }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

function card(title, ...body) {
  const heading = title instanceof Node ? title : el("div", { class: "head" }, el("h2", {}, title));
  return el("section", { class: "card" }, heading, body);
}

function facts(pairs) {
  return el("dl", { class: "facts" },
    pairs.map(([key, value]) => el("div", {}, el("dt", {}, word(key)), el("dd", {}, value))));
}

function pill(key, kind) {
  return el("span", { class: `pill ${kind}` }, word(key));
}

function meter(share) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  svg.setAttribute("aria-hidden", "true");
  bar.setAttribute("width", `${Math.min(100, 100 * share)}%`);
  bar.setAttribute("height", "100%");
  svg.append(bar);
  return el("span", { class: share > 0.8 ? "meter high" : "meter" }, svg);
}

// --- numbers and times -------------------------------------------------------------------------

function number(value) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString(language, { maximumFractionDigits: 3 });
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let index = 0;
  while (value >= 1024 && index < 3) { value /= 1024; index += 1; }
  return `${value.toLocaleString(language, { maximumFractionDigits: index ? 1 : 0 })} ${units[index]}`;
}

function duration(ms) {
  const zh = language === "zh";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${Math.floor(seconds)} ${zh ? "秒" : "s"}`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} ${zh ? "分" : "min"}`;
  if (seconds < 172800) {
    const rest = Math.floor((seconds % 3600) / 60);
    return `${Math.floor(seconds / 3600)} ${zh ? "小时" : "h"} ${rest} ${zh ? "分" : "min"}`;
  }
  return `${Math.floor(seconds / 86400)} ${zh ? "天" : "days"}`;
}

function moment(ms) {
  return new Date(ms).toLocaleString(language === "zh" ? "zh-CN" : "en-GB", {
    month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

function unitOf(name) {
  return name in UNITS ? UNITS[name] : name;
}

function age(ms) {
  if (ms === null || ms === undefined) return word("never");
  return word("ago", duration(ms < 1000 ? 1000 : ms));
}

function valueList(values) {
  return el("ul", { class: "values" }, values.map((point) => el("li", {},
    el("span", { class: "label" }, point.name),
    point.quality
      ? el("span", { class: "quality" }, word(point.quality))
      : [point.text || number(point.value), el("span", { class: "unit" }, unitOf(point.unit))])));
}
