"""The books of a month from the tables of its pack, for `recompute.py`: the standard library alone.

Energy by role and formula, emissions, certificates, fuels and heat, the totals of the four methods, standard coal, and what differs
from the revision before. Shares no line with `verification/accounting`, which closes a month and serves `tanyun evidence verify`:
every formula here is its standard's, written a second time. All figures are exact: integers of Wh, kJ and µg, and fractions.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from fractions import Fraction
from math import floor
from typing import Any

Rows = list[dict[str, str]]
Figures = dict[str, "int | None"]
Energies = dict[tuple[str, str], "int | None"]

UG_PER_T = 10**12
KJ_PER_GJ = 10**6
CO2_PER_C = Fraction(44, 12)
WH_PER_CERTIFICATE = 10**6
ACTIVITY = {
    "t": ("t", Fraction(1)), "kg": ("t", Fraction(1, 1000)), "1e4Nm3": ("1e4Nm3", Fraction(1)),
    "Nm3": ("1e4Nm3", Fraction(1, 10_000)), "GJ": ("GJ", Fraction(1)),
}  # fmt: skip
"""Unit of a row: unit of the activity data, and how many of it one is."""
PRINTED = {
    ("t", "kg"): 1000, ("kg", "kg"): 1, ("1e4Nm3", "m3"): 10_000, ("Nm3", "m3"): 1, ("GJ", "MJ"): 1000, ("t", "t"): 1,
    ("kWh", "kWh"): 1,
}  # fmt: skip
"""(unit of a row, unit of the printed coefficient): how many; any other pair gives no standard coal."""
CIRCUMSTANCES = (
    "schema", "revision", "reason", "closed_at", "journal", "changes", "registry", "budgets", "comparisons", "year", "evidence",
    "applied_ratios", "ledger", "dated", "tariffs", "series",
)  # fmt: skip
"""Fields of a document, at any depth, that no table of differences lists."""
NAMING = ("use", "id", "meter", "parent", "month", "day", "role", "name")
"""What names an item of a list in a path: the first of these that it has."""


def added(values: Iterable[int | None]) -> int | None:
    """The sum; None when a part is not determined."""
    parts = list(values)
    return None if None in parts else sum(part for part in parts if part is not None)


class Books:
    """A month's books: `table` gives a file of the pack (no rows where it is not there), `energy` what the frames gave.

    `reported` is that with accepted substitutions where the frames leave holes: all accounts rest on it.
    """

    def __init__(
        self, document: dict[str, Any], table: Callable[[str], Rows], energy: Energies, reported: Energies
    ) -> None:
        self.document, self.table, self.energy, self.reported = document, table, energy, reported
        self.scope, self.kind = document["scope"]["id"], document["scope"]["kind"]
        self.owner = {row["meter"]: row["enterprise"] for row in table("registry/meters.csv")}
        self.roles = [row for row in table("registry/roles.csv") if row["unit"] == "Wh"]
        self.formulas = table("registry/formulas.csv")
        self.ratio = {
            row["use"]: Fraction(row["factor_ug_per_wh"]) for row in table("factors.csv") if row["use"]
        }
        self.ratio_of = {row["id"]: Fraction(row["factor_ug_per_wh"]) for row in table("factors.csv")}
        self.burnt = {(row["factor_set"], row["fuel"]): row for row in table("factors/fuels.csv")}
        year, month = map(int, document["month"].split("-"))
        self.last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)

    def figures(self) -> Iterator[tuple[str, dict[str, Any] | None, dict[str, Any]]]:
        """(place in the document, what it says there, what follows), in the order in which one needs the other."""
        document = self.document
        yield "energy", document["energy"], self.electricity()
        purchased = self.formula(self.reported, self.kind, self.scope)
        for line in document["emissions"]:
            found = {"energy_wh": purchased, "emission_ug": self.emission(line["use"], purchased)}
            yield f"emissions[{line['use']}]", line, found
        for line in document["enterprises"]:
            bought = self.formula(self.reported, "enterprise", line["id"])
            yield f"enterprises[{line['id']}]", line, {
                "purchased_wh": self.formula(self.energy, "enterprise", line["id"]),
                "emission_ug": self.emission("enterprise", bought), "provincial_emission_ug": self.emission("park", bought),
            }  # fmt: skip
        accepted = self.certificates(purchased)
        yield from listed("certificates", document["certificates"], accepted)
        fuels, heat = self.fuels(), self.heat()
        yield from listed("fuels", document["fuels"], fuels)
        yield from listed("heat", document["heat"], heat)
        evidenced = sum(line["accepted_wh"] or 0 for line in accepted.values())
        totals = self.totals(purchased, evidenced, fuels, heat)
        yield from listed("totals", document["totals"], totals)
        yield "energy_total", document["energy_total"], {"standard_coal_kgce": self.coal(purchased, heat)}

    # Electricity

    def role(self, role: str, enterprise: str | None = None) -> list[tuple[str, str]]:
        return [
            (row["meter"], row["reading_type"])
            for row in self.roles
            if row["role"] == role and enterprise in (None, self.owner[row["meter"]])
        ]

    def sum_of(self, role: str) -> int | None:
        return added(self.energy[key] for key in self.role(role))

    def terms(self, kind: str, scope: str) -> list[tuple[int, tuple[str, str]]]:
        """The totals of each role of a boundary formula, and whether they are added or taken off."""
        mine = scope if kind == "enterprise" and self.kind == "park" else None
        return [
            (int(row["sign"]), key)
            for row in self.formulas
            if (row["kind"], row["scope"]) == (kind, scope)
            for key in self.role(row["role"], mine)
        ]

    def formula(self, energy: Energies, kind: str, scope: str) -> int | None:
        """What they come to; None where nothing is added."""
        terms = self.terms(kind, scope)
        if all(sign < 0 for sign, _key in terms):
            return None
        return added(None if (wh := energy[key]) is None else sign * wh for sign, key in terms)

    def electricity(self) -> Figures:
        names = "grid_boundary", "resold", "pv_generation", "export"
        imported, resold, generated, exported = map(self.sum_of, names)
        own = None if generated is None or exported is None else generated - exported
        return {
            "purchased_wh": self.formula(self.energy, self.kind, self.scope), "grid_import_wh": imported, "resold_wh": resold,
            "pv_generation_wh": generated, "export_wh": exported,
            "pv_self_use_wh": own if self.role("pv_generation") else 0,
        }  # fmt: skip

    def emission(self, use: str, wh: int | None) -> int | None:
        """Wh × µg per Wh, rounded down: `enterprise` is the national factor, `park` the provincial one."""
        return None if wh is None or use not in self.ratio else floor(wh * self.ratio[use])

    # Zero-factor power: GB/T 32151.34-2024 annex D.2; validity of certificates by the energy administration's rules of 2024

    def certificates(self, purchased: int | None) -> dict[str, Figures]:
        """Deliveries first, then certificates; each kWh of the purchase is covered at most once."""
        left = max(purchased or 0, 0)
        found: dict[str, Figures] = {}
        green = sorted(
            self.of_month("green"), key=lambda row: (row["enterprise"], f"{row['contract']} {row['month']}")
        )
        batches = sorted(self.of_month("certificate"), key=lambda row: (row["enterprise"], row["first"]))
        claims = [(f"{row['enterprise']}/{row['contract']}", delivered(row), proven(row)) for row in green]
        claims += [(f"{row['enterprise']}/{row['first']}", certified(row), valid(row)) for row in batches]
        for name, wh, counts in claims:
            accepted = min(left, wh) if counts else 0
            left -= accepted
            found[name] = {"energy_wh": wh, "accepted_wh": accepted}
        return found

    # Scope 1: AD × NCV × CC × OF × 44/12; feedstock is not burnt

    def fuels(self) -> dict[str, Figures]:
        rows = [row for row in self.of_month("energy") if row["energy"] != "heat"]
        found = {self.named(row): {"emission_ug": self.burning(row, rows)} for row in rows}
        reported = {(row["enterprise"], row["energy"]) for row in rows}
        known = {fuel for _factor_set, fuel in self.burnt} - {"heat"}
        for row in self.in_force("plan", "enterprise", "parameter"):
            if row["parameter"] in known and (row["enterprise"], row["parameter"]) not in reported:
                name = (
                    row["parameter"]
                    if row["enterprise"] == self.scope
                    else f"{row['enterprise']}/{row['parameter']}"
                )
                found[name] = {"emission_ug": None}  # planned and not reported: missing, not zero
        return found

    def burning(self, row: dict[str, str], rows: Rows) -> int | None:
        records = [
            r for r in self.in_force("enterprise", "enterprise") if r["enterprise"] == row["enterprise"]
        ]
        factor = self.burnt.get((records[0]["factor_set"] if records else "", row["energy"]))
        unit, many = ACTIVITY[row["unit"]]
        same = [r for r in rows if (r["enterprise"], r["energy"]) == (row["enterprise"], row["energy"])]
        if factor is None or len({ACTIVITY[r["unit"]][0] for r in same}) > 1:
            return None  # the formulas by mass, volume and heat exclude one another
        amount = (Fraction(row["consumed"]) - Fraction(row["feedstock_use"] or 0)) * many
        if unit not in (factor["activity_unit"], "GJ"):
            return None
        per_gj = per_gj_of(factor)
        if unit == "GJ" or factor["t_co2_per_unit_text"]:
            return floor(amount * per_gj * UG_PER_T)
        return floor(
            amount * Fraction(row["ncv_gj_per_unit"] or factor["ncv_gj_per_unit"]) * per_gj * UG_PER_T
        )

    def heat(self) -> dict[str, Figures]:
        """Purchased heat: by meter where a boundary meter measures it, else by bill."""
        metered = {
            meter: {"heat_kj": kj, "emission_ug": self.warming(kj, None)}
            for meter, kj in self.measured("kJ", "heat")
        }
        found: dict[str, Figures] = dict(metered)
        for row in self.of_month("energy"):
            if row["energy"] == "heat":
                kj = (
                    floor(Fraction(row["consumed"]) * KJ_PER_GJ)
                    if row["unit"] == "GJ" and not metered
                    else None
                )
                found[self.named(row)] = {
                    "heat_kj": kj,
                    "emission_ug": self.warming(kj, row["factor_t_per_gj"]),
                }
        return found

    def warming(self, kj: int | None, own: str | None) -> int | None:
        factor = self.burnt.get(("GBT32150-2025", "heat"))
        if kj is None or not (own or factor):
            return None
        per_gj = Fraction(own) if own else per_gj_of(factor or {})
        return floor(kj * per_gj * UG_PER_T / KJ_PER_GJ)

    def measured(self, unit: str, energy: str) -> Iterator[tuple[str, int | None]]:
        """Boundary meters whose record names this energy."""
        named = {row["meter"] for row in self.in_force("meter", "meter") if row["energy"] == energy}
        for row in self.table("registry/roles.csv"):
            if row["unit"] == unit and row["role"] == "grid_boundary" and row["meter"] in named:
                yield row["meter"], self.reported[row["meter"], row["reading_type"]]

    # Totals and standard coal

    def totals(
        self, purchased: int | None, evidenced: int, fuels: dict[str, Figures], heat: dict[str, Figures]
    ) -> dict[str, Figures]:
        """Direct emissions, electricity and heat under each method; evidenced power at 0 in the first and the last."""
        rest = None if purchased is None else purchased - evidenced
        direct = added(line["emission_ug"] for line in fuels.values())
        warm = added(line["emission_ug"] for line in heat.values())
        named = next((line["factor_id"] for line in self.document["totals"] if line["use"] == "market"), None)
        national, provincial, residual = (
            self.ratio.get("enterprise"),
            self.ratio.get("park"),
            self.ratio_of.get(named or ""),
        )
        methods = {
            "standard": (rest, national), "location_national": (purchased, national),
            "location_provincial": (purchased, provincial), "market": (rest, residual),
        }  # fmt: skip
        found: dict[str, Figures] = {}
        for use, (wh, ratio) in methods.items():
            electric = None if wh is None or ratio is None else floor(wh * ratio)
            found[use] = {
                "direct_ug": direct, "electricity_ug": electric, "heat_ug": warm, "including_ug": added([direct, electric, warm]),
            }  # fmt: skip
        return found

    def coal(self, purchased: int | None, heat: dict[str, Figures]) -> Fraction | None:
        """Electricity, heat and what was reported, by printed coefficients (GB/T 2589-2020); no energy-carrying medium."""
        metered = [kj for _meter, kj in self.measured("kJ", "heat")]
        amounts = [("electricity", "kWh", None if purchased is None else Fraction(purchased, 1000))]
        if metered:
            kj = added(line["heat_kj"] for line in heat.values())
            amounts.append(("heat", "GJ", None if kj is None else Fraction(kj, KJ_PER_GJ)))
        amounts += [
            (row["energy"], row["unit"], Fraction(row["consumed"]))
            for row in self.of_month("energy")
            if not (metered and row["energy"] == "heat")
        ]
        coefficients = {row["energy"]: row for row in self.table("factors/coal.csv")}
        whole = Fraction(0)
        for energy, unit, amount in amounts:
            printed = coefficients.get(energy)
            if printed is not None and printed["medium"] == "True":
                continue
            many = PRINTED.get((unit, printed["unit"])) if printed else None
            if amount is None or printed is None or many is None:
                return None
            whole += amount * many * Fraction(printed["kgce_per_unit"])
        return whole

    # Facts

    def of_month(self, kind: str) -> Rows:
        return [row for row in self.table(f"facts/{kind}.csv") if row["month"] == self.document["month"]]

    def in_force(self, kind: str, subject: str, key: str = "") -> Rows:
        """The state of every subject on the last day of the month: the newest that began by then, unless it has ended."""
        newest: dict[tuple[str, str], dict[str, str]] = {}
        for row in self.table(f"facts/{kind}.csv"):
            name, began = (row[subject], row[key] if key else ""), row["valid_from"]
            if began <= str(self.last) and began > newest.get(name, {"valid_from": ""})["valid_from"]:
                newest[name] = row
        return [row for row in newest.values() if not row["valid_to"] or row["valid_to"] > str(self.last)]

    def named(self, row: dict[str, str]) -> str:
        parts = [row["energy"]] if row["enterprise"] == self.scope else [row["enterprise"], row["energy"]]
        return "/".join([*parts, *([row["supplier"]] if row["supplier"] else [])])


def listed(
    place: str, said: list[dict[str, Any]], found: dict[str, Figures]
) -> Iterator[tuple[str, dict[str, Any] | None, dict[str, Any]]]:
    """Lines of a list by their names: all that either side has."""
    lines = {line.get("use") or line["id"]: line for line in said}
    for name in dict.fromkeys([*lines, *found]):
        yield f"{place}[{name}]", lines.get(name), dict(found.get(name, {"": None}))


def per_gj_of(factor: dict[str, str]) -> Fraction:
    """The factor as printed, or tCO2 per GJ of heat value from carbon content and oxidation."""
    if factor["t_co2_per_unit_text"]:
        return Fraction(factor["t_co2_per_unit_text"])
    return Fraction(factor["carbon_tc_per_gj"]) * Fraction(factor["oxidation_pct"]) / 100 * CO2_PER_C


def delivered(row: dict[str, str]) -> int:
    return int(Fraction(row["energy_kwh"]) * 1000)


def proven(row: dict[str, str]) -> bool:
    return bool(row["settlement"] and row["evidence_sha256"])


def certified(row: dict[str, str]) -> int:
    """Each certificate is 1,000 kWh."""
    first, last = (int(tail(row[name])) for name in ("first", "last"))
    return (last - first + 1) * WH_PER_CERTIFICATE


def tail(text: str) -> str:
    """The digits at the end."""
    return text[len(text.rstrip("0123456789")) :][-18:]


def valid(row: dict[str, str]) -> bool:
    """Retired, with proof, within 24 months of production; power of before 2024 until the end of 2025."""
    used, made = ((int(row[name][:4]) * 12 + int(row[name][5:])) for name in ("month", "production_month"))
    old = row["production_month"] < "2024-01"
    expired = row["month"] > "2025-12" if old else used - made >= 24  # noqa: PLR2004  months
    return bool(
        row["status"] == "retired"
        and row["retired_on"]
        and used >= made
        and not expired
        and row["evidence_sha256"]
    )


def leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every figure of a document by its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in CIRCUMSTANCES:
                yield from leaves(f"{path}.{key}" if path else key, item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            named = [str(item[key]) for key in NAMING if key in item] if isinstance(item, dict) else []
            name = named[0] if named else str(index)
            if isinstance(item, dict) and item.get("reading_type"):
                name += "/" + item["reading_type"]
            yield from leaves(f"{path}[{name}]", item)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def table_of_differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Path → (figure before, figure now), of all that differ; an empty text where one side has none."""
    before, after = dict(leaves("", old)), dict(leaves("", new))
    return {
        path: (before.get(path, ""), after.get(path, ""))
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path)
    }
