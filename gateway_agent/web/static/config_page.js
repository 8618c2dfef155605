// The configuration: what is in force, another one with what it would change, and its probation.
"use strict";

async function configPage() {
  const { config, text, state } = await get("config");
  const box = el("div", { id: "config-state" }, configState(state));
  const page = [el("h1", {}, word("config")), box,
    isOperator() && state !== null ? editor(text, state.digest) : null,
    el("p", { class: "soft" }, word("config_note")),
    el("details", { class: "card" }, el("summary", {}, word("with_defaults")),
      el("pre", { tabindex: "0", "aria-label": word("config") }, JSON.stringify(config, null, 2)))];
  return [page, () => followState(box)];
}

function configState(state) {
  if (state === null) return null;
  const left = state.probation_ms || 0;
  return card(word("in_force"), el("div", { class: "body" },
    left ? el("p", { class: "banner" }, word("probation", duration(left))) : null,
    state.outcome ? el("p", {}, state.outcome) : null,
    facts([["origin", state.origin], ["by", state.by || "–"], ["digest", el("code", {}, state.digest)]])));
}

// What is typed below stays: only the state is drawn anew.
function followState(box) {
  const own = setInterval(async () => {
    if (!box.isConnected) return clearInterval(own);
    try {
      box.replaceChildren(configState((await get("config")).state) || "");
    } catch (error) {
      if (error instanceof LoggedOut) show();
    }
  }, REFRESH_MS);
}

function editor(text, base) {
  const area = el("textarea", { rows: "18", spellcheck: "false", wrap: "off", "data-key": "config-text" });
  area.value = text;
  const result = el("div", { role: "status" });
  const apply = el("button", { type: "button", class: "main", disabled: "", "data-key": "config-apply" }, word("apply"));

  async function run(path) {
    apply.disabled = true;
    result.replaceChildren(el("p", { class: "soft" }, word("under_way")));
    try {
      const plan = await post(path, { text: area.value, base });
      result.replaceChildren(...planRows(plan));
      apply.disabled = path !== "config/plan" || plan.problems?.length > 0 || !plan.rows.length;
      if (path === "config/apply" && !plan.problems?.length) {
        say(word("applied"));
        show(true);
      }
    } catch (error) {
      result.replaceChildren(el("p", { class: "why" }, error.message));
      if (error instanceof LoggedOut) show();
    }
  }

  area.addEventListener("input", () => { apply.disabled = true; });
  apply.addEventListener("click", () => run("config/apply"));
  const check = el("button", { type: "button", "data-key": "config-check" }, word("check_changes"));
  check.addEventListener("click", () => run("config/plan"));
  return card(word("change_config"), el("div", { class: "body stacked" }, field("as_written", area),
    el("div", { class: "buttons" }, check, apply), result));
}

function planRows(plan) {
  const problems = (plan.problems || []).map((text) => el("p", { class: "why" }, text));
  if (!plan.rows.length) return problems.length ? problems : [el("p", { class: "soft" }, word("no_changes"))];
  const rows = plan.rows.map((row) => ({ class: row.refused ? "failing" : "", cells: [
    el("code", {}, row.path), row.old ? el("del", {}, row.old) : "–", row.new ? el("ins", {}, row.new) : "–", row.effect] }));
  return [...problems, table([["setting"], ["old"], ["new_value"], ["effect"]], rows)];
}
