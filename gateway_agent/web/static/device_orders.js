// What an operator asks of one device: read its settings, set one, restart it, take a picture.
"use strict";

const orderCards = {}; // by device: what was typed and answered stays while the page is drawn anew

function orderCard(device) {
  if (!isOperator()) return null;
  const key = `${device.name} ${language}`;
  if (!orderCards[key]) orderCards[key] = makeOrderCard(device);
  return orderCards[key];
}

function makeOrderCard(device) {
  const id = `points-${device.name}`;
  const known = el("datalist", { id });
  known.append(...device.values.map((point) => el("option", { value: point.name })));
  const point = el("input", { list: id, maxlength: "64", required: "", "data-key": "order-point" });
  const value = el("input", { maxlength: "64", required: "", placeholder: "5 s", "data-key": "order-value" });
  const sure = el("input", { type: "checkbox", "data-key": "order-sure" });
  const result = el("div", { role: "status" });

  async function run(action, more = {}) {
    result.replaceChildren(el("p", { class: "soft" }, word("under_way")));
    try {
      const order = { action, device: device.name, confirm: sure.checked, ...more };
      const found = await post("commands", order);
      const kind = found.outcome === "done" ? "good" : "bad";
      result.replaceChildren(el("p", {}, pill(`outcome_${found.outcome}`, kind), " ", found.text),
        (found.values || []).length ? facts(found.values.map((one) => [one.name,
          one.quality ? word(one.quality) : `${one.text || number(one.value)} ${unitOf(one.unit)}`])) : "");
      known.replaceChildren(...(found.values || []).map((one) => el("option", { value: one.name })));
      sure.checked = false;
    } catch (error) {
      result.replaceChildren(el("p", { class: "why" }, error.message));
      if (error instanceof LoggedOut) show();
    }
  }

  const form = el("form", { class: "order" }, field("setting", point), field("value", value),
    el("label", { class: "check" }, sure, " ", word("sure")), el("button", {}, word("set")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run("set", { point: point.value.trim(), value: value.value.trim() });
  });
  const buttons = el("div", { class: "buttons" }, button("read_settings", device.name, () => run("get")),
    device.kind === "node" ? button("restart", device.name, () => run("restart")) : null,
    device.role === "camera" ? button("snapshot", device.name, () => run("snapshot")) : null);
  return card(word("orders"), el("div", { class: "body stacked" }, known, buttons, form, result));
}
