// The API's own documentation, drawn from its OpenAPI document: works offline, where the usual viewers do not.

import { h } from "./dom.js";
import { getJson, Unauthorized } from "./feed.js";
import { toLogin } from "./session.js";

function typeOf(schema, all) {
  if (!schema) return "";
  if (schema.$ref) return typeOf(all[schema.$ref.split("/").at(-1)], all);
  if (schema.anyOf) return schema.anyOf.map((part) => typeOf(part, all)).filter((text) => text !== "null").join(" | ");
  if (schema.enum) return schema.enum.join(" | ");
  return schema.const ?? schema.format ?? schema.type ?? "";
}

/** An example shape of a schema, with types in place of values. */
function shape(schema, all, depth = 0) {
  if (!schema || depth > 5) return "…";
  if (schema.$ref) return shape(all[schema.$ref.split("/").at(-1)], all, depth + 1);
  if (schema.anyOf) {
    const found = schema.anyOf.map((part) => shape(part, all, depth + 1)).filter((part) => part !== "null");
    const orNull = schema.anyOf.some((part) => part.type === "null") ? " | null" : "";
    return found.every((part) => typeof part === "string") ? found.join(" | ") + orNull : found[0];
  }
  if (schema.type === "array") return [shape(schema.items, all, depth + 1)];
  if (schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties).map(([name, part]) => [name, shape(part, all, depth + 1)]));
  }
  return typeOf(schema, all);
}

function parameters(list, all) {
  const rows = list.map((p) => h("tr", null, h("th", { scope: "row" }, h("code", { text: p.name }), p.required ? " *" : ""),
    h("td", { text: p.in }), h("td", { text: typeOf(p.schema, all) }),
    h("td", { text: [p.description, p.schema.default === undefined ? "" : `(${p.schema.default})`].filter(Boolean).join(" ") })));
  const heads = ["name", "in", "type", "description"].map((text) => h("th", { scope: "col", text }));
  return h("table", null, h("thead", null, h("tr", null, ...heads)), h("tbody", null, ...rows));
}

function route(method, path, operation, all) {
  const schema = operation.responses["200"]?.content?.["application/json"]?.schema;
  const parts = [h("p", { text: operation.description ?? "" })];
  if (operation.parameters?.length) parts.push(parameters(operation.parameters, all));
  if (schema && Object.keys(schema).length) parts.push(h("pre", { tabindex: 0, text: JSON.stringify(shape(schema, all), null, 2) }));
  return h("details", { class: "card route" },
    h("summary", null, h("span", { class: "method", text: method.toUpperCase() }), h("code", { text: path }), h("span", { class: "muted", text: operation.summary })),
    h("div", { class: "body" }, ...parts));
}

try {
  const api = await getJson("/api/v1/openapi.json");
  const all = api.components.schemas;
  document.getElementById("intro").textContent = api.info.description;
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags?.[0] ?? "";
      groups.set(tag, [...(groups.get(tag) ?? []), route(method, path, operation, all)]);
    }
  }
  for (const [tag, routes] of groups) {
    document.getElementById("routes").append(h("section", null, h("h2", { text: tag }), ...routes));
  }
  document.documentElement.dataset.ready = "true";
} catch (error) {
  if (error instanceof Unauthorized) toLogin();
  const notice = document.getElementById("notice");
  notice.hidden = false;
  notice.textContent = error.message;
}
