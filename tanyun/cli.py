"""The command line. The language is chosen before the commands are imported, so that their help follows it."""

import sys

from tanyun.environment import use_kernel_cache, use_language


def _wanted_language(arguments: list[str]) -> str | None:
    for i, argument in enumerate(arguments):
        if argument == "--lang" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith("--lang="):
            return argument.removeprefix("--lang=")
    return None


def main() -> None:
    """Run `tanyun`."""
    use_language(_wanted_language(sys.argv[1:]))
    use_kernel_cache()
    from tanyun.commands import group  # noqa: PLC0415  after the language is known

    group.root(prog_name="tanyun")
