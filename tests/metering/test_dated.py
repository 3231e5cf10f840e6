"""What the registry declares of a meter's transformers over time."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from metering.dated import Ratios, declared_total, moment_ms, ratio_history
from metering.registry import Meter, parse_registry

TOTAL = "energy_import_total"


def meter(**more: object) -> tuple[Meter, object]:
    park = parse_registry(
        {
            "id": "p", "name": "p", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": "g", "site": "s"}],
            "meters": [{"id": "m", "gateway": "g", "roles": {TOTAL: "grid_boundary"}, "ct": "300/5", "pt": "100", **more}],
        }
    )  # fmt: skip
    return park.meters[0], park.tz


def test_the_commissioning_ratio_comes_first_and_every_change_after_it() -> None:
    shown = {TOTAL: "1"}
    found, zone = meter(
        exchanges=[
            {
                "at": "2026-09-01T03:00:00",
                "closing": shown,
                "opening": shown,
                "ct": "500/5",
                "reason": "upgrade",
            },
            {"at": "2026-07-01T03:00:00", "closing": shown, "opening": shown},  # the transformers stayed
        ],
        ratio_changes=[{"at": "2026-05-01T00:00:00", "ct": "400/5", "reason": "plate"}],
    )
    history = ratio_history(found, zone)  # type: ignore[arg-type]  # the park's zone
    assert history[0] == Ratios(-1, Fraction(60), Fraction(100), "")
    assert [(int(r.ct), int(r.pt), r.reason) for r in history[1:]] == [
        (80, 100, "plate"),
        (100, 100, "upgrade"),
    ]


@given(st.lists(st.tuples(st.integers(1, 28), st.integers(1, 3)), max_size=5, unique_by=lambda pair: pair[0]))
def test_the_products_are_the_segments_that_energies_are_multiplied_by(
    changes: list[tuple[int, int]],
) -> None:
    found, zone = meter(
        ratio_changes=[{"at": f"2026-05-{day:02}T00:00:00", "ct": f"{100 * ct}/5"} for day, ct in changes]
    )
    segments = declared_total(found, TOTAL, zone).segments  # type: ignore[arg-type]  # the park's zone
    assert [(r.since_ms, r.ct * r.pt) for r in ratio_history(found, zone)] == [tuple(s) for s in segments]  # type: ignore[arg-type]
    assert all(moment_ms(change.at, zone) > 0 for change in found.ratio_changes)  # type: ignore[arg-type]
