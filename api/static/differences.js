// What differs between two revisions of a month, in the words of the report, against any revision that one chooses.

import { table } from "./drill.js";
import { h } from "./dom.js";
import { w } from "./words.js";

const NUMBER = /^-?[0-9,.]+$/;

function rows(found) {
  return found.map((c) => h("tr", { title: c.path }, h("td", { text: c.label }), h("td", { text: c.unit }), ...[c.old, c.new, c.difference].map((value) => h("td", { class: NUMBER.test(value) ? "n" : "e", text: value }))));
}

function shown(found) {
  const heads = [w("item"), w("unit"), [w("old")], [w("new")], [w("difference")]];
  const figures = found.filter((c) => !c.proof);
  const proofs = found.filter((c) => c.proof);
  if (!found.length) return [h("p", { class: "muted", text: w("no_difference") })];
  return [table(heads, rows(figures)), ...(proofs.length ? [h("details", {}, h("summary", { text: `${w("proofs")} (${proofs.length})` }), table(heads, rows(proofs)))] : [])];
}

/** The inside of the part; `path` is the month's, `revisions` all there are, `ask` fetches from the API. */
export async function differences(path, revision, revisions, ask) {
  const others = revisions.map((r) => r.revision).filter((r) => r !== revision);
  if (!others.length) return [h("p", { class: "muted", text: w("first_revision") })];
  const box = h("div", { id: "differing" });
  const choice = h("select", { id: "against" }, ...others.map((r) => h("option", { value: r, selected: r === revision - 1, text: `r${r}` })));
  const load = async () => box.replaceChildren(...shown(await ask(`${path}/differences?revision=${revision}&against=${choice.value}`)));
  choice.addEventListener("change", load);
  await load();
  return [h("label", {}, `r${revision} ${w("against")} `, choice), box];
}
