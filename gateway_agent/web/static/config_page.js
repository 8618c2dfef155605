// The configuration in force; later also a new one, its difference, and its probation.
"use strict";

async function configPage() {
  const { config } = await get("config");
  return [el("h1", {}, word("config")), el("p", { class: "soft" }, word("config_note")),
    el("section", { class: "card" },
      el("pre", { tabindex: "0", "aria-label": word("config") }, JSON.stringify(config, null, 2)))];
}
