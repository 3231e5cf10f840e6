"""Everything that is the same for every park, built from code into `rendered/`: `python -m dashboards.build`."""

import json
from pathlib import Path

from dashboards import carbon, fleet, months, pipeline, quality, substation
from dashboards.alert import Alert, groups
from dashboards.alerts_energy import ALERTS as ENERGY
from dashboards.alerts_fleet import ALERTS as FLEET
from dashboards.alerts_service import ALERTS as SERVICE
from dashboards.boards import Board, render
from dashboards.rendered import FOLDER

ALERTS: tuple[Alert, ...] = (*FLEET, *ENERGY, *SERVICE)


def boards() -> list[Board]:
    """The dashboards, in the order operators read them."""
    return [module.board() for module in (fleet, substation, carbon, months, quality, pipeline)]


def files() -> dict[str, str]:
    """File name → content."""
    out = {f"{board.uid}.json": _json(render(board)) for board in boards()}
    out["alert-groups.json"] = _json(groups(ALERTS))
    return out


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def main(folder: Path = FOLDER) -> None:
    """Write the files."""
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
