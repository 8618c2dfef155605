// The OpenAPI document as a page: made of the document itself, with nothing from outside.
"use strict";

async function apiPage(name) {
  const found = await get("openapi.json");
  const operations = Object.entries(found.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationCard(path, method, operation)));
  const schemas = Object.entries(found.components.schemas).map(([key, schema]) => schemaCard(key, schema));
  const page = [el("h1", {}, word("api")), el("p", { class: "soft" }, `${found.info.title} ${found.info.version} · ${found.info.description} `,
    el("a", { href: "/api/v1/openapi.json" }, "openapi.json")),
  el("h2", {}, word("addresses")), operations, el("h2", {}, word("types")), schemas];
  return [page, () => {
    const wanted = name && document.getElementById(`api-${name}`);
    if (wanted) { wanted.open = true; wanted.scrollIntoView(); wanted.querySelector("summary").focus(); }
  }];
}

function operationCard(path, method, operation) {
  const answers = Object.entries(operation.responses).map(([status, answer]) => ({ cells: [
    status, answer.description, schemaName(answer.content?.["application/json"]?.schema)] }));
  const parameters = operation.parameters.map((one) => ({ cells: [one.name, one.in, one.required ? word("yes") : "",
    schemaName(one.schema)] }));
  const body = operation.requestBody?.content["application/json"].schema;
  const summary = [el("span", { class: `method ${method}` }, method.toUpperCase()), " ", el("code", {}, path), " ",
    el("span", { class: "soft" }, operation.summary)];
  return opening(operation.operationId, summary, () => [
    parameters.length ? table([["name"], ["place"], ["required"], ["type"]], parameters) : null,
    body ? el("p", { class: "body" }, word("body"), ": ", schemaName(body)) : null,
    table([["status"], ["text"], ["type"]], answers)]);
}

// Return a card that is filled when it is opened: the document is long.
function opening(id, summary, make) {
  const made = el("details", { class: "card", id: `api-${id}` }, el("summary", {}, summary));
  made.addEventListener("toggle", () => {
    if (made.open && made.children.length === 1) made.append(...make().filter((child) => child !== null));
  });
  return made;
}

function schemaCard(name, schema) {
  const fields = Object.entries(schema.properties || {}).map(([key, kind]) => ({ cells: [
    key, schemaName(kind), (schema.required || []).includes(key) ? word("yes") : ""] }));
  const summary = [el("code", {}, name), " ", el("span", { class: "soft" }, schema.description || "")];
  return opening(name, summary, () => [table([["name"], ["type"], ["required"]], fields)]);
}

// Return what a schema stands for, with links to the types that are named.
function schemaName(schema) {
  if (!schema) return "–";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return el("a", { href: `#api/${name}` }, name);
  }
  if (schema.anyOf) return schema.anyOf.flatMap((one, index) => [index ? " | " : "", schemaName(one)]);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.type === "array") return ["[", schemaName(schema.items), "]"];
  if (schema.type === "object" && schema.additionalProperties) {
    return ["{…: ", schemaName(schema.additionalProperties), "}"];
  }
  return schema.type || word("any");
}
