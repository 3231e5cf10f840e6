"""A shim below SQLite: fsync takes its time while a file exists. Built where there is a C compiler."""

import shutil
import subprocess
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_if_slow(void) {
    const char *flag = getenv("TANYUN_CHAOS_SLOW");
    if (flag && access(flag, F_OK) == 0) usleep(250000);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_if_slow();
    return real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_if_slow();
    return real(fd);
}
"""


def build_shim(folder: Path) -> Path | None:
    """The shared object, or None where nothing can build one."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, made = folder / "slow.c", folder / "slow.so"
    source.write_text(_SOURCE, encoding="ascii")
    done = subprocess.run(
        (compiler, "-shared", "-fPIC", "-o", str(made), str(source), "-ldl"), check=False, capture_output=True
    )
    return made if done.returncode == 0 else None
