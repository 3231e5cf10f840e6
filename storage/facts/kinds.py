"""The kinds of facts. Each is a strict model: a row of its sheet, or a form of the page, with every mistake named.

A *state* kind holds from a day on, until its own end or the next one of the same subject and key. The others happen once:
a bill, a month's output, a batch of certificates.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from metering.config import Id
from metering.i18n import _
from storage.facts.fact import Fact, State
from storage.facts.fields import (
    CreditCode,
    Day,
    Digest,
    Formula,
    Industry,
    Month,
    Number,
    Positive,
    Quantity,
    RatioText,
    Required,
    Text,
)
from storage.facts.series import SeriesFact
from storage.facts.substitution import ApprovalFact, SubstitutionFact
from storage.facts.tariff import TariffFact


class EnterpriseFact(State):
    """The fields of an enterprise that a report needs."""

    KIND = "enterprise"
    LABEL = ("企业", "Enterprise")
    SUBJECT = "enterprise"

    enterprise: Id = Field(title="企业编号 enterprise")
    name: Required = Field(title="企业名称 name")
    short_name: Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[^\\/:*?\"<>|\s]+$")] = Field(
        title="简称 short name"
    )
    credit_code: CreditCode = Field(title="统一社会信用代码 credit code")
    industry: Industry = Field(title="行业代码（GB/T 4754） industry")
    standard: Text = Field(default="", title="核算标准及版本 accounting standard")
    factor_set: Text = Field(default="", title="因子集 factor set")
    boundary: Text = Field(default="", title="核算边界说明 boundary")
    contact: Text = Field(default="", title="联系人 contact")
    phone: Text = Field(default="", title="联系电话 phone")
    energy_manager: Text = Field(default="", title="能源管理负责人 energy manager")
    legal_representative: Text = Field(default="", title="法定代表人 legal representative")


class FormulaFact(State):
    """The boundary formula of an enterprise or the park."""

    KIND = "formula"
    LABEL = ("边界公式", "Boundary formula")
    SUBJECT = "scope"

    scope: Id = Field(title="企业或园区编号 scope")
    formula: Formula = Field(title="公式（按角色加减） formula over roles")


class MeterFact(State):
    """The record of a meter (计量器具台账)."""

    KIND = "meter"
    LABEL = ("计量器具", "Meter")
    SUBJECT = "meter"

    meter: Id = Field(title="表计编号 meter")
    serial: Required = Field(title="出厂编号 serial")
    model: Text = Field(default="", title="型号 model")
    accuracy_class: Annotated[str, Field(pattern=r"^([0-9](\.[0-9]+)?S?|[A-D])?$")] = Field(
        default="", title="准确度等级 accuracy class"
    )
    calibrated_on: Day | None = Field(default=None, title="检定日期 calibrated on")
    calibrated_until: Day | None = Field(default=None, title="检定有效期至（含） calibrated until, inclusive")
    certificate: Text = Field(default="", title="检定证书号 certificate")
    ct: RatioText | None = Field(default=None, title="电流互感器变比 CT ratio")
    pt: RatioText | None = Field(default=None, title="电压互感器变比 PT ratio")
    ratio_proof: Text = Field(default="", title="变比证明材料 proof of the ratios")
    rated_power_kw: Positive | None = Field(default=None, title="额定/最大功率 kW rated power")
    location: Text = Field(default="", title="安装位置 location")
    energy: Text = Field(default="", title="计量的能源代码（非电力时） energy measured, if not electricity")
    """Of a boundary meter for heat, water or gas; a gas meter counts Nm³ (0 °C, 101.325 kPa) or does not name its energy."""


class PlanFact(State):
    """A parameter of the data-quality control plan (数据质量控制计划)."""

    KIND = "plan"
    LABEL = ("数据质量控制计划", "Data-quality control plan")
    SUBJECT = "enterprise"
    KEY = ("parameter",)

    enterprise: Id = Field(title="企业编号 enterprise")
    parameter: Required = Field(title="参数（表计编号或能源代码） parameter: a meter or an energy")
    unit: Text = Field(default="", title="单位 unit")
    method: Literal["measured", "default", "calculated"] = Field(title="获取方式 measured/default/calculated")
    device: Text = Field(default="", title="计量设备出厂编号 device serial")
    frequency: Text = Field(default="", title="记录频次 recording frequency")
    missing_data: Literal["total_difference", "check_meter", "bill", "mean_of_4_weeks", "maximum"] = Field(
        title="缺失数据处理 missing data: total_difference/check_meter/bill/mean_of_4_weeks/maximum"
    )
    department: Text = Field(default="", title="负责部门 department")


class BudgetFact(Fact):
    """用能预算 and 碳排放预算 of a year."""

    KIND = "budget"
    LABEL = ("用能与碳排放预算", "Energy and carbon budget")
    SUBJECT = "scope"
    KEY = ("year",)

    scope: Id = Field(title="企业或园区编号 scope")
    year: Annotated[int, Field(ge=2000, le=2099)] = Field(title="年度 year")
    energy_tce: Positive | None = Field(default=None, title="用能预算 tce energy budget")
    carbon_t: Positive | None = Field(default=None, title="碳排放预算 tCO2 carbon budget")


class ProductionFact(Fact):
    """Output and value added of a month."""

    KIND = "production"
    LABEL = ("产值与增加值", "Output and value added")
    SUBJECT = "enterprise"
    KEY = ("month",)

    enterprise: Id = Field(title="企业编号 enterprise")
    month: Month = Field(title="月份 month")
    output_10k_cny: Quantity | None = Field(default=None, title="工业总产值 万元 output")
    value_added_10k_cny: Number | None = Field(default=None, title="工业增加值 万元 value added")


class ProductFact(Fact):
    """A product of a month."""

    KIND = "product"
    LABEL = ("产品产量", "Products")
    SUBJECT = "enterprise"
    KEY = ("month", "product")

    enterprise: Id = Field(title="企业编号 enterprise")
    month: Month = Field(title="月份 month")
    product: Required = Field(title="产品 product")
    unit: Required = Field(title="单位 unit")
    amount: Quantity = Field(title="产量 amount")


class EnergyFact(Fact):
    """Fuel or heat bought, used and in stock in a month (form 205-1)."""

    KIND = "energy"
    LABEL = ("能源购进、消费与库存", "Energy bought, used and in stock")
    SUBJECT = "enterprise"
    KEY = ("month", "energy", "supplier")

    enterprise: Id = Field(title="企业编号 enterprise")
    month: Month = Field(title="月份 month")
    energy: Id = Field(title="能源代码 energy")
    supplier: Text = Field(default="", title="供应方（热力） supplier, for heat")
    unit: Literal["t", "kg", "1e4Nm3", "Nm3", "GJ"] = Field(title="单位 unit: t/kg/1e4Nm3/Nm3/GJ")
    purchased: Quantity | None = Field(default=None, title="购进量 purchased")
    consumed: Quantity = Field(title="消费量 consumed")
    production_use: Quantity | None = Field(default=None, title="其中：工业生产 for production")
    other_use: Quantity | None = Field(default=None, title="其中：非工业生产 other")
    feedstock_use: Quantity | None = Field(default=None, title="其中：用作原料 as feedstock")
    transport_use: Quantity | None = Field(default=None, title="其中：交通运输 for transport")
    opening_stock: Quantity | None = Field(default=None, title="期初库存 opening stock")
    closing_stock: Quantity | None = Field(default=None, title="期末库存 closing stock")
    basis: Literal["metered", "bill", "estimated"] = Field(
        default="bill", title="依据 metered/bill/estimated"
    )
    ncv_gj_per_unit: Positive | None = Field(
        default=None, title="实测低位发热量 GJ/t 或 GJ/万Nm³ measured NCV"
    )
    ncv_source: Text = Field(default="", title="检测报告 laboratory report of the NCV")
    factor_t_per_gj: Positive | None = Field(
        default=None, title="热力供应方实测因子 tCO2/GJ supplier's heat factor"
    )
    factor_source: Text = Field(default="", title="因子证明材料 proof of the factor")

    @model_validator(mode="after")
    def _proven_and_whole(self) -> Self:
        if self.ncv_gj_per_unit is not None and not self.ncv_source:
            raise ValueError(_("ncv_gj_per_unit needs its laboratory report in ncv_source"))
        if self.factor_t_per_gj is not None and (not self.factor_source or self.energy != "heat"):
            raise ValueError(_("factor_t_per_gj is for heat and needs its proof in factor_source"))
        uses = (self.production_use, self.other_use, self.feedstock_use)
        if None not in uses and sum(use for use in uses if use is not None) != self.consumed:
            raise ValueError(_("production_use, other_use and feedstock_use do not add up to consumed"))
        return self


class BillFact(Fact):
    """A utility's bill over its own reading dates."""

    KIND = "bill"
    LABEL = ("账单", "Bill")
    SUBJECT = "enterprise"
    KEY = ("number",)

    enterprise: Id = Field(title="企业编号 enterprise")
    number: Required = Field(title="账单号 number")
    meter: Id = Field(title="计量点表计 meter")
    reading_type: Id = Field(default="energy_import_total", title="计量量 reading type")
    start: Day = Field(title="上次抄表日 start")
    end: Day = Field(title="本次抄表日 end")
    opening: Quantity = Field(title="上次示数 opening")
    closing: Quantity = Field(title="本次示数 closing")
    multiplier: Positive = Field(default=Decimal(1), title="倍率 multiplier")
    billed: Number = Field(title="结算电量 billed")
    unit: Literal["kWh", "m3", "GJ"] = Field(default="kWh", title="单位 unit")
    transformer_loss: Quantity = Field(default=Decimal(0), title="变损 transformer loss")
    line_loss: Quantity = Field(default=Decimal(0), title="线损 line loss")
    adjusted: Number = Field(default=Decimal(0), title="退补电量 adjusted")

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.end <= self.start:
            raise ValueError(_("end is not after start"))
        return self


class GreenFact(Fact):
    """Green power delivered and settled under a contract in a month."""

    KIND = "green"
    LABEL = ("绿电合同与结算", "Green power contract")
    SUBJECT = "enterprise"
    KEY = ("contract", "month")

    enterprise: Id = Field(title="企业编号 enterprise")
    contract: Required = Field(title="合同号 contract")
    month: Month = Field(title="结算月份 month")
    energy_kwh: Positive = Field(title="结算电量 kWh energy")
    settlement: Text = Field(default="", title="结算凭证号 settlement voucher")
    evidence_sha256: Digest = Field(default="", title="凭证文件 SHA-256 of the voucher")


class CertificateFact(Fact):
    """A batch of 绿证 claimed for one month: 1 certificate is 1,000 kWh, each counts once."""

    KIND = "certificate"
    LABEL = ("绿证", "Certificates")
    SUBJECT = "enterprise"
    KEY = ("first",)

    enterprise: Id = Field(title="企业编号 enterprise")
    first: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]*[0-9]{1,18}$", max_length=60)] = Field(
        title="首张证号 first"
    )
    last: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]*[0-9]{1,18}$", max_length=60)] = Field(
        title="末张证号 last"
    )
    production_month: Month = Field(title="电量生产月份 production month")
    status: Literal["held", "retired", "cancelled"] = Field(title="状态 held/retired/cancelled")
    retired_on: Day | None = Field(default=None, title="注销日期 retired on")
    month: Month = Field(title="用于月份 claimed for month")
    evidence_sha256: Digest = Field(default="", title="凭证文件 SHA-256 of the proof")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        (prefix, first), (other, last) = self.numbers
        if prefix != other or last < first or len(self.first) != len(self.last):
            raise ValueError(_("first and last are not a range of certificate numbers"))
        return self

    @property
    def numbers(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """(prefix, number) of the first and the last one."""
        return _split(self.first), _split(self.last)

    @property
    def count(self) -> int:
        """How many certificates."""
        (_p, first), (_q, last) = self.numbers
        return last - first + 1


def _split(text: str) -> tuple[str, int]:
    digits = re.search(r"[0-9]{1,18}$", text)
    number = digits[0] if digits else "0"
    return text[: len(text) - len(number)], int(number)


class InspectionFact(Fact):
    """A timed reading of the display: 现场抽查, or the meter's own frozen total at a month's end."""

    KIND = "inspection"
    LABEL = ("现场抽查", "Inspection")
    SUBJECT = "meter"
    KEY = ("reading_type", "at")

    meter: Id = Field(title="表计编号 meter")
    reading_type: Id = Field(default="energy_import_total", title="计量量 reading type")
    at: datetime = Field(title="时间（当地） local time")
    reading: Quantity = Field(title="显示示数 display reading")
    unit: Literal["kWh", "MWh", "m3", "GJ"] = Field(default="kWh", title="单位 unit")
    resolution: Positive = Field(title="显示分辨力 display resolution")
    source: Literal["display", "frozen"] = Field(default="display", title="来源 display/frozen")
    photo_sha256: Digest = Field(default="", title="照片 SHA-256 of the photo")
    inspector: Text = Field(default="", title="抽查人 inspector")


class DepositFact(Fact):
    """月度信息化存证: what was deposited for a month, and when."""

    KIND = "deposit"
    LABEL = ("月度存证", "Deposit")
    SUBJECT = "enterprise"
    KEY = ("month", "parameter")

    enterprise: Id = Field(title="企业编号 enterprise")
    month: Month = Field(title="月份 month")
    parameter: Required = Field(title="参数 parameter")
    submitted_on: Day = Field(title="提交日期 submitted on")
    document_sha256: Digest = Field(default="", title="文件 SHA-256 of the document")


class BenchmarkFact(Fact):
    """An industry's mean tCO2 per 万元 of value added (for K), or another value that a scope is measured by."""

    KIND = "benchmark"
    LABEL = ("对标值", "Benchmark")
    SUBJECT = "scope"
    KEY = ("measure", "year")

    scope: Id = Field(title="行业代码、企业或园区编号 industry or scope")
    measure: Literal[
        "t_co2_per_10k_value_added",
        "tce_per_10k_value_added",
        "tce_per_10k_output",
        "equal_value_kgce_per_kwh",
    ] = Field(title="指标 measure")
    year: Annotated[int, Field(ge=2000, le=2099)] = Field(title="年度 year")
    value: Positive = Field(title="数值 value")
    source: Required = Field(title="来源 source")


KINDS: dict[str, type[Fact]] = {
    model.KIND: model
    for model in (
        EnterpriseFact, FormulaFact, MeterFact, PlanFact, BudgetFact, ProductionFact, ProductFact, EnergyFact, BillFact,
        GreenFact, CertificateFact, InspectionFact, DepositFact, BenchmarkFact, TariffFact, SeriesFact, SubstitutionFact,
        ApprovalFact,
    )
}  # fmt: skip
"""Every kind by its name, in the order of the sheets."""
