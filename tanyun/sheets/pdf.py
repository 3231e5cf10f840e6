"""A commissioning sheet on paper, in both languages. Data reaches the template through `sys_inputs` alone, as in the month report."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import typst
from noto_cjk_sans_otc import FONT_PATH

from edge_agent.commission import words
from edge_agent.commission.alternatives import Mistake
from edge_agent.commission.physics import Check, Outcome
from edge_agent.commission.proof import Comparison, Proof, Why
from edge_agent.commission.read import RegisterReading
from edge_agent.commission.sheet import Sheet, decode_sheet
from metering import i18n
from metering.reading_types import READING_TYPES
from metering.roles import ROLE_LABELS, Role

TEMPLATE: Final = Path(__file__).with_name("sheet.typ")
NONE: Final = "—"
_CODES: Final = {
    Outcome.HELD: "PASS",
    Outcome.BROKEN: "FAIL",
    Outcome.NOT_JUDGED: "INSUFFICIENT_DATA",
}


def render(data: bytes) -> bytes:
    """The PDF of a sheet file; SheetError. Its foot carries the file's own digest."""
    sheet = decode_sheet(data)
    view = _view(sheet, hashlib.sha256(data).hexdigest())
    return typst.compile(
        str(TEMPLATE),
        root=str(TEMPLATE.parent),
        font_paths=[str(Path(str(FONT_PATH)).parent)],
        ignore_system_fonts=True,
        format="pdf",
        sys_inputs={"view": json.dumps(view, ensure_ascii=False)},
    )


def both(say: Callable[[], str]) -> list[str]:
    """What a function of words says in Chinese and in English."""
    before = i18n.current()
    try:
        texts = []
        for language in ("zh_CN", "en"):
            i18n.use(language)
            texts.append(say())
        return texts
    finally:
        i18n.restore(before)


def _view(sheet: Sheet, digest: str) -> dict[str, Any]:
    proof = sheet.proof
    return {
        "digest": digest,
        "meter": sheet.meter,
        "name": sheet.wanted.name,
        "facts": [[zh, en, value or NONE] for zh, en, value in _facts(sheet)],
        "verdict": {"code": sheet.verdict.value, "text": both(lambda: words.verdict_sentence(sheet.verdict))},
        "checks": [_check(item) for item in sheet.checks],
        "explanations": [_explanation(group) for group in sheet.explanations],
        "ratio": {"statement": sheet.ratio_statement, "proven": not proof.missing},
        "comparisons": [_comparison(item, proof) for item in proof.comparisons],
        "missing": [_why(why) for why in proof.missing],
        "registers": [_register(item) for item in sheet.registers],
        "roles": [_role(total, role) for total, role in sheet.wanted.roles.items()],
    }


def _facts(sheet: Sheet) -> list[tuple[str, str, str]]:
    ratios, photo = sheet.proof.ratios, sheet.proof.photo
    side = ("电表一次值", "applied in the meter") if ratios.in_meter else ("服务器", "by the server")
    return [
        ("园区 / 网关", "Park / gateway", f"{sheet.park} / {sheet.gateway}"),
        ("总线", "Bus", f"{sheet.line.id} ({sheet.line.kind}) {sheet.line.endpoint}"),
        ("单元地址", "Unit", str(sheet.line.unit)),
        ("型号", "Model", f"{sheet.model.vendor} {sheet.model.model}"),
        ("表号（铭牌）", "Serial, name plate", sheet.model.serial),
        ("表号（读出）", "Serial, as read", sheet.model.serial_read),
        ("寄存器表", "Profile", f"{sheet.model.profile} @ {sheet.model.revision}"),
        ("CT / PT（铭牌）", "CT / PT, name plates",
         "直接接入 direct" if ratios.direct else f"{ratios.ct or NONE} / {ratios.pt}"),
        ("变比应用于", "Ratio applied", " ".join(side)),
        ("铭牌照片", "Photo of the name plate", f"{photo.name} sha256 {photo.sha256[:32]}…" if photo else ""),
        ("调试人员", "Installer", sheet.installer),
        ("时间", "Made", sheet.made),
        ("软件", "Software", sheet.software),
        ("备注", "Remarks", sheet.remarks),
    ]  # fmt: skip


def _check(item: Check) -> dict[str, Any]:
    return {
        "label": both(lambda: words.check_label(item)),
        "code": _CODES[item.outcome],
        "outcome": both(lambda: words.outcome_word(item.outcome)),
        "numbers": "  ".join(f"{name} {value:.5g}" for name, value in item.numbers.items()),
    }


def _comparison(item: Comparison, proof: Proof) -> list[str]:
    return both(lambda: words.comparison_sentence(item, proof))


def _why(why: Why) -> list[str]:
    return both(lambda: words.why_sentence(why))


def _explanation(group: list[dict[str, object]]) -> list[str]:
    mistakes = [msgspec.convert(item, Mistake) for item in group]
    return both(lambda: words.explanation(mistakes))


def _register(item: RegisterReading) -> list[str]:
    kind = READING_TYPES.get(item.reading_type)
    unit = "" if item.unit == "1" else f" {item.unit}"
    value = item.error or (NONE if item.value is None else f"{item.value:.10g}{unit}")
    raw = NONE if item.raw is None else f"{item.raw:.10g}" if isinstance(item.raw, float) else str(item.raw)
    label = f"{kind.label_zh} {kind.label_en}" if kind else item.reading_type
    return [str(item.address), str(item.fc), label, item.type, " ".join(item.words) or NONE, raw, value]


def _role(total: str, role: str) -> list[str]:
    kind = READING_TYPES.get(total)
    label = f"{kind.label_zh} {kind.label_en}" if kind else total
    known = role in {str(item) for item in Role}
    return [label, " ".join(ROLE_LABELS[Role(role)]) if known else role]
