"""The Chinese catalogue is complete, fresh and used: what an installer or operator reads follows the locale."""

import io
import os
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).parents[1]
CATALOGUES = ROOT / "metering" / "locale" / "zh_CN" / "LC_MESSAGES"
PACKAGES = (
    "tanyun",
    "metering",
    "factors",
    "storage",
    "edge_agent",
    "ingest",
    "stream",
    "verification",
    "api",
)
CJK = re.compile(r"[\u4e00-\u9fff]")
CURE = "Run scripts/translate, then translate what it lists."


def catalogue(name: str) -> Catalog:
    with (CATALOGUES / f"{name}.po").open("rb") as file:
        return read_po(file, locale="zh_CN")


def messages(name: str) -> list[Message]:
    return [message for message in catalogue(name) if message.id]


def placeholders(text: str) -> set[tuple[str, str, str]]:
    """(name, conversion, format) of every field."""
    fields = string.Formatter().parse(text)
    return {
        (name, conversion or "", form or "") for _text, name, form, conversion in fields if name is not None
    }


def code_messages() -> set[str]:
    keywords = {**DEFAULT_KEYWORDS, "N_": None}
    return {
        str(message)
        for package in PACKAGES
        for _file, _line, message, _comments, _context in extract_from_dir(ROOT / package, keywords=keywords)
    }


def tanyun(*words: str, **env: str) -> str:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"}
    }
    done = subprocess.run(
        [sys.executable, "-m", "tanyun", *words], env={**kept, "COLUMNS": "80", **env}, cwd=ROOT,
        capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_every_message_in_the_code_is_in_the_catalogue_and_nothing_else() -> None:
    assert {str(message.id) for message in messages("tanyun")} == code_messages(), CURE


@pytest.mark.parametrize("name", ["tanyun", "click"])
def test_every_message_is_translated_and_none_is_a_guess(name: str) -> None:
    waiting = [message.id for message in messages(name) if not message.string or message.fuzzy]
    assert not waiting, CURE


def test_translations_are_chinese() -> None:
    same = {message.id for message in messages("tanyun") if not CJK.search(str(message.string))}
    assert same == {"sudo apt install mosquitto"}


@pytest.mark.parametrize("name", ["tanyun", "click"])
def test_translations_keep_the_placeholders(name: str) -> None:
    for message in messages(name):
        forms = [message.id] if isinstance(message.id, str) else list(message.id)
        wanted = set().union(*(placeholders(form) for form in forms))
        said = placeholders(message.string[0] if isinstance(message.string, tuple) else str(message.string))
        assert said <= wanted if len(forms) > 1 else said == wanted, message.id


@pytest.mark.parametrize("name", ["tanyun", "click"])
def test_the_compiled_catalogue_is_that_of_the_text(name: str) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(name))
    assert (CATALOGUES / f"{name}.mo").read_bytes() == compiled.getvalue(), CURE


def test_help_is_chinese_on_request_down_to_the_words_of_click() -> None:
    text = tanyun("--lang", "zh_CN", "--help")
    assert "从 Modbus 寄存器" in text
    assert "用法" in text
    assert "显示本帮助并退出" in text
    assert not re.search(r"^  .*[a-z]\.$", text, re.MULTILINE), "an English sentence is left"


def test_help_fits_the_terminal_in_chinese_too() -> None:
    lines = tanyun("--lang", "zh_CN", "demo", "--help").splitlines()
    assert max(len(line) + len(CJK.findall(line)) for line in lines) <= 80


def test_messages_follow_the_locale_and_the_command_line_goes_first() -> None:
    missing = ("doctor", "--config", "/nowhere/server.toml")
    assert "文件不存在" in tanyun(*missing, LANG="zh_CN.UTF-8")
    assert "文件不存在" in tanyun(*missing, LANG="en_US.UTF-8", LANGUAGE="zh_CN:en")
    assert "there is no such file" in tanyun(*missing, LANG="en_US.UTF-8")
    assert "there is no such file" in tanyun("--lang=en", *missing, LANG="zh_CN.UTF-8")


def test_a_wrong_configuration_is_explained_in_chinese(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text('park = "p"\ncolour = "g"\n', encoding="utf-8")
    text = tanyun("edge", "check", "--config", str(config), LANG="zh_CN.UTF-8")
    assert "gateway: 缺少此项" in text
    assert "colour: 没有这个配置项" in text


def test_the_program_names_no_language_that_it_does_not_have() -> None:
    text = tanyun("--lang", "xx", "doctor")
    assert "xx" in text
    assert "zh_CN" in text
