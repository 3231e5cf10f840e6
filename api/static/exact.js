// Exact amounts: integers in base units as text → the unit that people read. Places are moved in the text; nothing is rounded.

// Unit of a line → the one that is shown, and how many places it lies further left.
export const SHOWN = { Wh: ["kWh", 3], varh: ["kvarh", 3], L: ["m³", 3], kJ: ["MJ", 3], kgce: ["tce", 3], ug: ["tCO₂", 12] };

export function inUnits(text, unit) {
  if (text === null || text === undefined) return "—";
  const [, sign, digits, rest] = /^(-?)([0-9]+)(?:[.]([0-9]+))?$/.exec(text);
  const padded = digits.padStart(SHOWN[unit][1] + 1, "0");
  const whole = padded.slice(0, -SHOWN[unit][1]);
  const part = (padded.slice(-SHOWN[unit][1]) + (rest ?? "")).replace(/0+$/, "").padEnd(3, "0");
  return `${sign}${whole.replace(/[0-9](?=([0-9]{3})+$)/g, "$&,")}.${part}`;
}

/** The same with its unit. */
export function amount(text, unit) {
  return text === null || text === undefined ? "—" : `${inUnits(text, unit)} ${SHOWN[unit][0]}`;
}
