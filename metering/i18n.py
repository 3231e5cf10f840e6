"""Messages in the reader's language: gettext, English message ids, Chinese catalogue. `scripts/translate` keeps the catalogue."""

import gettext
from importlib import resources

DOMAIN = "tanyun"
LANGUAGES = ("zh_CN", "en")
LOCALE = str(resources.files("metering") / "locale")
"""Folder of the catalogues."""

_current: gettext.NullTranslations = gettext.NullTranslations()


def choose_language(locale: str | None) -> str:
    """The catalogue for a POSIX locale name such as `zh_CN.UTF-8`; English for everything that is not Chinese."""
    return "zh_CN" if (locale or "").lower().startswith("zh") else "en"


def use(language: str) -> None:
    """Switch this process to `language` (one of LANGUAGES)."""
    global _current  # noqa: PLW0603  the language is a property of the process, like its locale
    _current = gettext.translation(DOMAIN, LOCALE, languages=[language], fallback=True)


def current() -> gettext.NullTranslations:
    """The catalogue in use, for `restore`."""
    return _current


def restore(catalogue: gettext.NullTranslations) -> None:
    """Go back to a catalogue: a document in two languages was written meanwhile."""
    global _current  # noqa: PLW0603  as in `use`
    _current = catalogue


def _(message: str) -> str:
    """The message in the current language."""
    return _current.gettext(message)


def N_(message: str) -> str:  # noqa: N802  gettext's own name for it
    """The message as it is: a mark for the catalogue where the text is needed before the language is known."""
    return message


def chosen(zh: str, en: str) -> str:
    """The one of a pair of texts that data carries, in the current language."""
    return zh if _current.info().get("language", "").startswith("zh") else en
