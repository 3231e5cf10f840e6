"""A role ends, to be started again, when the registry says something else, and only then."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tanyun.registry_watch import RegistryWatch
from tests.tanyun.test_sheets import REGISTRY


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "park.toml").write_text(REGISTRY, encoding="utf-8")
    return tmp_path / "park.toml"


def asked(watch: RegistryWatch) -> list[bool]:
    return [watch.changed() for _ in range(4)]


def test_another_content_is_told_once_and_after_it_kept_still(file: Path) -> None:
    watch = RegistryWatch(file)
    assert not any(asked(watch))
    file.write_text(REGISTRY + "\n# another word\n", encoding="utf-8")
    assert asked(watch) == [False, True, False, False]


def test_the_same_content_written_again_is_no_change(file: Path) -> None:
    watch = RegistryWatch(file)
    file.unlink()
    assert not watch.changed()
    file.write_text(REGISTRY, encoding="utf-8")
    assert not any(asked(watch))


def test_a_wrong_registry_restarts_nothing_until_it_is_put_right(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = RegistryWatch(file)
    file.write_text(REGISTRY + "\n[[meters]]\nid = 'x'\n", encoding="utf-8")
    assert not any(asked(watch))
    assert "nothing is restarted" in caplog.text
    file.write_text(REGISTRY + "\n# another word\n", encoding="utf-8")
    assert asked(watch) == [False, True, False, False]


def test_a_role_ends_as_by_sigterm_once_the_registry_has_another_valid_content(file: Path) -> None:
    role = (
        "import sys, time; from pathlib import Path; from tanyun.registry_watch import RegistryWatch, end_when_changed; "
        "end_when_changed(RegistryWatch(Path(sys.argv[1]))); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen((sys.executable, "-c", role, str(file)), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        file.write_text(REGISTRY + "\n# another word\n", encoding="utf-8")
        assert process.wait(30) == -signal.SIGTERM
