// The alarms that are not normal, and what an operator does about them.
"use strict";

const SHELF_HOURS = [1, 8, 48];
const ALARM = { unacknowledged: "bad", acknowledged: "wait", returned: "wait", shelved: "wait",
  "out-of-service": "wait" };

async function alarmsPage() {
  const { alarms } = await get("alarms");
  const rows = alarms.map((alarm) => ({ class: alarm.state === "unacknowledged" ? "failing" : "", cells: [
    [alarm.name, alarm.text ? el("div", { class: "under" }, alarm.text) : null],
    pill(`alarm_${alarm.state}`, ALARM[alarm.state]), word(`severity_${alarm.severity}`), aboutLink(alarm.about),
    duration(alarm.for_ms), alarmButtons(alarm)] }));
  const all = alarms.some((alarm) => ["unacknowledged", "returned"].includes(alarm.state)) && isOperator()
    ? button("acknowledge_all", "all", () => acknowledge("")) : null;
  const head = el("div", { class: "head" }, el("h2", {}, word("alarms")), all);
  return [el("h1", {}, word("alarms")),
    alarms.length && !isOperator() ? el("p", { class: "soft" }, word("operator_only")) : null,
    rows.length ? card(head, table([["name"], ["state"], ["severity"], ["about"], ["since", "nowrap"], ["do"]], rows))
      : el("p", { class: "soft" }, word("noalarms"))];
}

function aboutLink(name) {
  // No device has a name with a space: that is a bus.
  return name === "gateway" || name.includes(" ") ? name : el("a", { href: `#device/${encodeURIComponent(name)}` }, name);
}

function button(key, id, then, ...parts) {
  const made = el("button", { type: "button", "data-key": `${key}-${id}` }, word(key, ...parts));
  made.addEventListener("click", then);
  return made;
}

function acknowledge(name) {
  return give("alarms/order", { action: "acknowledge", name }, (done) => word("acknowledged_n", done.changed));
}

function shelve(name, hours) {
  const order = { action: "shelve", name, for_ms: hours * 3600 * 1000 };
  return give("alarms/order", order, word(hours ? "alarm_shelved" : "taken_back"));
}

function alarmButtons(alarm) {
  if (!isOperator()) return "–";
  const made = [];
  if (["unacknowledged", "returned"].includes(alarm.state)) {
    made.push(button("acknowledge", alarm.name, () => acknowledge(alarm.name)));
  }
  if (alarm.state === "out-of-service") {
    const order = { action: "maintain", name: alarm.about, for_ms: 0 };
    made.push(button("take_back", alarm.about, () => give("alarms/order", order, word("work_over"))));
  } else if (alarm.state === "shelved") made.push(button("take_back", alarm.name, () => shelve(alarm.name, 0)));
  else {
    made.push(...SHELF_HOURS.map((hours) =>
      button("shelve_h", `${hours}-${alarm.name}`, () => shelve(alarm.name, hours), hours)));
  }
  return el("div", { class: "buttons", role: "group", "aria-label": alarm.name }, made);
}
