"""A month document with something in every table, made from the plant's own by adding lines."""

from typing import Any

import msgspec

from storage.months import MonthRow, digest_of
from tests.verification import full_declared, full_tariff
from verification import lines
from verification.document import Change, MonthDocument, canonical, parse
from verification.substitution_line import SubstitutionLine

MONTH_NAMES = [f"2026-{number:02d}" for number in range(1, 13)]


def full(row: MonthRow) -> MonthRow:
    """The row with a document in which nothing is empty."""
    return changed(row, **_values(parse(row.document)))


def changed(row: MonthRow, **values: object) -> MonthRow:
    """The row with other values in its document."""
    document: MonthDocument = msgspec.structs.replace(parse(row.document), **values)
    data = canonical(document)
    return msgspec.structs.replace(row, document=data, digest=digest_of(data), revision=document.revision)


def _values(document: MonthDocument) -> dict[str, object]:
    return {
        "revision": 2,
        "reason": "ct_corrected：hj-line2 互感器变比更正",
        "changes": tuple(_changes()),
        "facts": lines.EnterpriseFacts(
            short_name="精密制造",
            industry="C3482",
            standard="GB/T 32151.34-2024",
            factor_set="GB/T 32151.34-2024",
            boundary="厂区内全部生产与辅助设施，含屋顶光伏；不含外包食堂。",
            contact="李梅",
            phone="0551-12345678",
            energy_manager="王强",
            legal_representative="赵敏",
        ),
        "registry": lines.RegistryState(revision=14, digest="5b" * 32),
        **_energy(),
        **_carbon(),
        **_quality(document),
        **full_tariff.values(),
        **full_declared.values(),
    }


def _changes() -> list[Change]:
    paths = [
        "energy.purchased_wh",
        "emissions[enterprise].emission_ug",
        "meters[m-line/energy_import_total].energy_wh",
    ]
    days = [f"daily[2026-10-{day:02d}].energy_wh" for day in range(1, 32)]
    return [
        Change(path=path, old=str(10**9 + i), new=str(8 * 10**8 + i))
        for i, path in enumerate([*paths, *days])
    ]


def _energy() -> dict[str, object]:
    electricity = lines.EnergyLine(
        id="electricity",
        label_zh="电力",
        label_en="Electricity",
        unit="kWh",
        purchased="2380800",
        consumed="2411200.5",
        production_use="2200000.5",
        other_use="211200",
        basis="metered",
        in_total=True,
        coefficient_kgce="0.1229",
        coefficient_source="GB/T 2589-2020 附录A",
        coefficient_verified="two_sources",
        standard_coal_kgce="296336.54145",
        equal_value_coefficient_kgce="0.2995",
        equal_value_kgce="722154.4",
    )
    gas = lines.EnergyLine(
        id="natural_gas",
        label_zh="天然气",
        label_en="Natural gas",
        unit="1e4Nm3",
        purchased="3.25",
        consumed="3.125",
        feedstock_use="0",
        opening_stock=None,
        closing_stock=None,
        basis="bill",
        in_total=True,
        coefficient_kgce="13300",
        coefficient_source="GB/T 2589-2020 附录A",
        coefficient_verified="two_sources",
        standard_coal_kgce="41562.5",
    )
    water = lines.EnergyLine(
        id="water",
        label_zh="新水",
        label_en="Fresh water",
        unit="t",
        purchased="1234.5",
        consumed="1234.5",
        basis="metered",
        in_total=False,
        coefficient_kgce="0.2571",
        coefficient_source="GB/T 2589-2020 附录B",
        coefficient_verified="one_source",
        standard_coal_kgce="317.39",
    )
    power: list[Any] = [
        (
            "ordinary",
            "in",
            "购入：普通电力",
            "Purchased, ordinary",
            "2280800000",
            "530600",
            "CN-2023-average",
            "1210192480000000",
            (),
        ),
        (
            "green_power",
            "in",
            "购入：绿电合同",
            "Purchased, green contract",
            "100000000",
            "0",
            None,
            "0",
            ("GP-2026-07",),
        ),
        ("self_generated", "in", "光伏自用", "PV self-use", "30400500", "0", None, "0", ()),
        ("exported", "out", "上网", "Exported", "5000000", None, None, None, ()),
    ]
    return {
        "energy_types": (electricity, gas, water),
        "energy_total": lines.EnergyTotal(
            standard_coal_kgce="337899.04145", equal_value_kgce="763716.9", nonfossil_kgce="16026.2"
        ),
        "power": tuple(
            lines.PowerLine(
                id=i,
                direction=d,
                label_zh=zh,
                label_en=en,
                energy_wh=wh,
                factor_ug_per_wh=f,
                factor_id=fid,
                emission_ug=ug,
                evidence=proof,
            )
            for i, d, zh, en, wh, f, fid, ug, proof in power
        ),
        "bills": (
            lines.BillLine(
                id="B-2026-10",
                energy="electricity",
                meter="m-grid",
                start="2026-09-25",
                end="2026-10-25",
                opening="10234.5",
                closing="13456.7",
                multiplier="800",
                billed="2577760",
                unit="kWh",
                loss="12000",
                adjusted="-300",
                expected="2566060",
                metered="2561234.5",
                difference="-4825.5",
                share="4825/2566060",
            ),
        ),
        "year": tuple(_year_month(name) for name in MONTH_NAMES),
        "comparisons": (
            lines.Comparison(
                id="previous_month",
                month="2026-09",
                revision=1,
                purchased_wh="2200000000",
                standard_coal_kgce="310000",
                emission_ug="1250000000000000",
            ),
            lines.Comparison(id="last_year", month="2025-10", revision=None),
        ),
    }


def _year_month(name: str) -> lines.YearMonth:
    month = int(name[5:])
    if month > 10:
        return lines.YearMonth(
            month=name,
            revision=None,
            purchased_wh=None,
            standard_coal_kgce=None,
            emission_ug=None,
            restated_emission_ug=None,
        )
    energy = str(2_000_000_000 + 90_000_000 * ((month * 7) % 5))
    emission = str(int(energy) * 530600)
    return lines.YearMonth(
        month=name,
        revision=1 if month < 9 else 2,
        purchased_wh=energy,
        standard_coal_kgce="301234.5",
        emission_ug=emission,
        restated_emission_ug=emission,
    )


def _carbon() -> dict[str, object]:
    direct, power, heat = "67571234567890", "1210192480000000", "132000000000000"
    both = str(int(direct) + int(power) + int(heat))
    methods: list[Any] = [
        ("standard", True, "标准口径（凭证电量计零）", "Standard: evidenced power at zero"),
        ("location_national", False, "全国平均", "National average"),
        ("location_provincial", False, "省级平均（园区口径）", "Provincial average"),
        ("market", False, "市场法", "Market-based"),
    ]
    source = "GB/T 32151.34-2024 附录C"
    return {
        "fuels": (
            lines.FuelLine(
                id="natural_gas",
                label_zh="天然气",
                label_en="Natural gas",
                unit="1e4Nm3",
                activity="3.125",
                path="volume",
                factor_set="x",
                ncv_gj_per_unit="389.31",
                ncv_source=source,
                carbon_tc_per_gj="0.0153",
                carbon_source=source,
                oxidation_pct="99",
                oxidation_source=source,
                t_co2_per_unit="216219/10000",
                verified="two_sources",
                emission_ug=direct,
            ),
            lines.FuelLine(
                id="diesel",
                label_zh="柴油",
                label_en="Diesel",
                unit="t",
                activity="1.2",
                path="mass",
                factor_set="x",
                ncv_gj_per_unit="42.652",
                ncv_source=source,
                carbon_tc_per_gj="0.0202",
                carbon_source="未提供",
                oxidation_pct="98",
                oxidation_source=source,
                t_co2_per_unit="3",
                verified="two_sources",
                emission_ug=None,
                missing_zh="缺少单位热值含碳量的来源",
                missing_en="no source for the carbon content",
            ),
        ),
        "heat": (
            lines.HeatLine(
                id="steam",
                label_zh="园区蒸汽",
                label_en="Steam from the park",
                basis="metered",
                heat_kj="1200000000",
                t_co2_per_gj="11/100",
                factor_id="h",
                factor_source="GB/T 32151.34-2024 缺省值",
                verified="two_sources",
                emission_ug=heat,
            ),
        ),
        "totals": tuple(
            lines.EmissionTotals(
                use=use,
                primary=primary,
                label_zh=zh,
                label_en=en,
                factor_id="f" if use != "market" else None,
                factor_ug_per_wh="530600" if use != "market" else None,
                direct_ug=direct,
                electricity_ug=power if use != "market" else None,
                heat_ug=heat,
                excluding_ug=direct,
                including_ug=both if use != "market" else None,
                missing_en="" if use != "market" else "no residual factor for 2025",
            )
            for use, primary, zh, en in methods
        ),
        "production": (
            lines.ProductLine(
                id="output", label_zh="工业总产值", label_en="Output", unit="万元", amount="12345.6"
            ),
            lines.ProductLine(
                id="value_added", label_zh="工业增加值", label_en="Value added", unit="万元", amount="3210.5"
            ),
            lines.ProductLine(id="p1", label_zh="精密轴承", label_en="Bearings", unit="套", amount=None),
        ),
        "intensities": (
            lines.IntensityLine(
                id="i1",
                label_zh="单位增加值能耗",
                label_en="Energy per value added",
                unit="tce/万元",
                numerator="337.9",
                denominator="3210.5",
                value="3379/32105",
                target="12/100",
                previous_month="11/100",
            ),
            lines.IntensityLine(
                id="i2",
                label_zh="单位增加值碳排放",
                label_en="Emission per value added",
                unit="tCO2/万元",
                numerator="1409.7",
                denominator="3210.5",
                value="14097/32105",
                target=None,
            ),
        ),
        "grades": (
            lines.GradeLine(
                id="L",
                label_zh="碳排放水平 L",
                label_en="level",
                value="14097/32105",
                grade_zh="低碳",
                grade_en="low carbon",
                rule="L ≤ 0.6 低碳；≤ 2.0 中碳；> 2.0 高碳",
                source="规上工业企业碳效等级评价方法",
                official=False,
            ),
        ),
        "budgets": (
            lines.BudgetLine(
                id="carbon",
                year=2026,
                unit="ug",
                budget="15000000000000000",
                used="12400000000000000",
                months_used=10,
                budget_to_date="12500000000000000",
                forecast="14900000000000000",
                method="mean_of_months",
                state="green",
            ),
            lines.BudgetLine(
                id="energy",
                year=2026,
                unit="kgce",
                budget="3600000",
                used="3350000",
                months_used=10,
                budget_to_date="3000000",
                forecast="4020000",
                method="mean_of_months",
                state="forecast_over",
            ),
        ),
        "certificates": (
            lines.CertificateLine(
                id="GP-2026-07",
                kind="green_power",
                label="皖绿电 2026-0071",
                production_month="2026-10",
                retired_on="2026-11-01",
                energy_wh="100000000",
                accepted_wh="100000000",
                evidence_sha256="aa" * 32,
            ),
            lines.CertificateLine(
                id="GEC-0001",
                kind="gec",
                label="GEC340000100001—GEC340000100050",
                production_month="2024-08",
                retired_on="2026-10-30",
                energy_wh="50000000",
                accepted_wh="0",
                evidence_sha256="bb" * 32,
                refused_zh="已超过两年有效期",
                refused_en="expired",
            ),
        ),
        "renewable": lines.RenewableLine(
            consumed_wh="2411200500", renewable_wh="130400500", share="1304005/24112005"
        ),
    }


def _quality(document: MonthDocument) -> dict[str, object]:
    meters = dict.fromkeys(line.meter for line in document.meters)
    return {
        "meter_facts": tuple(
            lines.MeterFacts(
                meter=meter,
                serial=f"2024110{n:05d}",
                model="DTSD1352",
                accuracy_class="0.5S",
                calibrated_on="2025-06-01",
                calibrated_until="2031-05-31",
                ratio_proof="" if n == 0 else "互感器检定证书 2025-113",
                longest_gap_minutes=15 * n,
                missing_method="register_difference",
                max_demand_w=str(412_000 + n),
                max_demand_at="2026-10-14T10:15:00+08:00",
                power_factor="0.93",
            )
            for n, meter in enumerate(meters)
        ),
        "substitutions": (
            SubstitutionLine(
                id="m-two/energy_import_total/2026-10-28T09:00:00",
                meter="m-two",
                reading_type="energy_import_total",
                start="2026-10-28T09:00:00+08:00",
                end="2026-11-01T00:00:00+08:00",
                amount="812500",
                method_zh="校核表",
                method_en="check meter",
                reason="表计烧毁，按变电室校核表",
                evidence_sha256="ab" * 32,
                author="li",
                approver="wang",
                accepted=True,
            ),
        ),
        "events": tuple(
            lines.EventLine(
                id=f"e{n}",
                meter=meter,
                kind="transient_dropped",
                label_zh="瞬时跌落，已剔除",
                label_en="transient dropped",
                count=n + 1,
                first_at="2026-10-03T03:15:00+08:00",
                last_at="2026-10-03T04:00:00+08:00",
            )
            for n, meter in enumerate(list(meters)[:2])
        ),
    }
