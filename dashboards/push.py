"""Putting our content into a running Grafana: read, compare, then create or update what differs. Ours by prefix; nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from grafana_client.client import GrafanaClientError

from dashboards.compare import differences
from dashboards.names import FOLDER, FOLDER_TITLE, PREFIX, TAG
from dashboards.notify import OURS
from dashboards.wanted import Wanted

Json = dict[str, Any]
Action = Literal["create", "update", "delete", "same"]
_NOT_FOUND = 404
_UNLOCKED = {"X-Disable-Provenance": "true"}
"""What is pushed can still be looked at and tried out in Grafana's pages; the next push puts it back."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a push does to one thing."""

    kind: str
    name: str
    action: Action
    differences: tuple[str, ...]
    apply: Callable[[], object]


class Pusher:
    """One Grafana and what it shall hold."""

    def __init__(self, api: Any, content: Wanted, *, force: bool = False) -> None:
        """`api` is a grafana_client.GrafanaApi, which has no types.

        `force` writes what is equal, too: Grafana never tells whether a secret is still the same.
        """
        self._api = api
        self._rules = api.alertingprovisioning
        self._content = content
        self._force = force

    def plan(self) -> list[Change]:
        """Every thing of ours, in the order in which it can be written. Reads only."""
        return [
            self._folder(), self._datasource(), *self._boards(), *self._mute_timings(), *self._contact_points(),
            *self._groups(), self._policy(), *self._stale(),
        ]  # fmt: skip

    def _change(
        self,
        kind: str,
        name: str,
        wish: Json,
        current: Json | None,
        write: tuple[Callable[[], object], Callable[[], object]],
    ) -> Change:
        create, update = write
        if current is None:
            return Change(kind, name, "create", (), create)
        found = tuple(differences(wish, current))
        return Change(kind, name, "update" if found or self._force else "same", found, update)

    def _folder(self) -> Change:
        current = _found(self._api.folder.get_folder, FOLDER)
        create = partial(self._api.folder.create_folder, FOLDER_TITLE, FOLDER)
        update = partial(self._api.folder.update_folder, FOLDER, FOLDER_TITLE, overwrite=True)
        return self._change("folder", FOLDER, {"title": FOLDER_TITLE}, current, (create, update))

    def _datasource(self) -> Change:
        wish, api = self._content.datasource, self._api.datasource
        current = _found(api.get_datasource_by_uid, wish["uid"])
        visible = {key: value for key, value in wish.items() if key != "secureJsonData"}
        visible["secureJsonFields"] = dict.fromkeys(wish.get("secureJsonData", {}), True)
        write = partial(api.create_datasource, wish), partial(api.update_datasource_by_uid, wish["uid"], wish)
        return self._change("datasource", wish["uid"], visible, current, write)

    def _boards(self) -> Iterator[Change]:
        for board in self._content.boards:
            current = _found(self._api.dashboard.get_dashboard, board["uid"])
            body = {
                "dashboard": board,
                "folderUid": FOLDER,
                "overwrite": True,
                "message": "tanyun grafana push",
            }
            have = current and {**current["dashboard"], "folderUid": current["meta"].get("folderUid")}
            write = partial(self._api.dashboard.update_dashboard, body)
            yield self._change(
                "dashboard", board["uid"], {**board, "folderUid": FOLDER}, have, (write, write)
            )

    def _mute_timings(self) -> Iterator[Change]:
        have = {item["name"]: item for item in self._rules.get_mute_timings()}
        for wish in self._content.mute_timings:
            path = f"/v1/provisioning/mute-timings/{wish['name']}"
            create = partial(self._rules.create_mute_timing, wish, disable_provenance=True)
            update = partial(self._api.client.PUT, path, json=wish, headers=_UNLOCKED)
            yield self._change("mute timing", wish["name"], wish, have.get(wish["name"]), (create, update))

    def _contact_points(self) -> Iterator[Change]:
        have = {item["uid"]: item for item in self._rules.get_contactpoints()}
        for wish in self._content.contact_points:
            create = partial(self._rules.create_contactpoint, wish, disable_provenance=True)
            update = partial(self._rules.update_contactpoint, wish["uid"], wish, disable_provenance=True)
            yield self._change("contact point", wish["uid"], wish, have.get(wish["uid"]), (create, update))

    def _groups(self) -> Iterator[Change]:
        """A group is written as a whole; rules that others put into it go back as they came."""
        for group in self._content.groups:
            title = group["title"]
            current = _found(self._rules.get_rule_group, FOLDER, title)
            foreign = [rule for rule in (current or {}).get("rules", []) if not _ours(rule.get("uid"))]
            body = {**group, "rules": [*group["rules"], *foreign]}
            write = partial(self._rules.update_rule_group, FOLDER, title, body, disable_provenance=True)
            yield self._change("alert rules", title, body, current, (write, write))

    def _policy(self) -> Change:
        """Our route in the organisation's tree; the rest of the tree goes back as it came."""
        tree = self._rules.get_notification_policy_tree()
        routes = tree.get("routes") or []
        mine = [route for route in routes if route.get("object_matchers") == OURS]
        wish = self._content.route
        new = {**tree, "routes": [wish, *(route for route in routes if route not in mine)]}
        write = partial(self._rules.set_notification_policy_tree, new, disable_provenance=True)
        return self._change("notification route", "tanyun", wish, mine[0] if mine else None, (write, write))

    def _stale(self) -> Iterator[Change]:
        """Ours, but not wanted any more; last, when nothing refers to it."""
        content = self._content
        boards = [
            item
            for item in self._api.search.search_dashboards(tag=TAG, type_="dash-db")
            if item.get("folderUid") == FOLDER
        ]
        points, timings = self._rules.get_contactpoints(), self._rules.get_mute_timings()
        for kind, there, wish, delete in (
            (
                "dashboard",
                _names(boards, "uid"),
                _names(content.boards, "uid"),
                self._api.dashboard.delete_dashboard,
            ),
            (
                "contact point",
                _names(points, "uid"),
                _names(content.contact_points, "uid"),
                self._rules.delete_contactpoint,
            ),
            (
                "mute timing",
                _names(timings, "name"),
                _names(content.mute_timings, "name"),
                self._rules.delete_mute_timing,
            ),
        ):
            for name in sorted(filter(_ours, there - wish)):
                yield Change(kind, name, "delete", (), partial(delete, name))


def _names(items: list[Json], key: str) -> set[str]:
    return {item[key] for item in items}


def _ours(name: str | None) -> bool:
    return name is not None and name.startswith(PREFIX)


def _found(read: Callable[..., Json], *arguments: str) -> Json | None:
    try:
        return read(*arguments)
    except GrafanaClientError as error:
        if error.status_code == _NOT_FOUND:
            return None
        raise
