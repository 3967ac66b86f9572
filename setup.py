"""The compiled build: with RTMPSRV_COMPILE=1 the packages that handle each message become C. More: setup.cfg.

They stay ordinary Python, and are tested as such too; docs/compiled.md says what compiling asks of them.
"""

from __future__ import annotations

import os
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import Extension, setup

PACKAGES = ("protocol", "media", "live")
SINGLE = ("rtmpsrv/server/intake.py",)  # of a package that stays ordinary: what the hub does for each read
INTERPRETED = {
    # Their loops are system calls with plain integers, which a compiled loop would make anew for each call.
    "rtmpsrv/live/audience.py",
    "rtmpsrv/live/lane.py",
    "rtmpsrv/live/playback.py",  # hosts derive from it, which ordinary classes cannot from a compiled one
    "rtmpsrv/protocol/amf_values.py",  # derives from dict, list and str, which compiled classes cannot
}


def extensions() -> list[Extension]:
    """Return what to compile: nothing, unless RTMPSRV_COMPILE is set."""
    if os.environ.get("RTMPSRV_COMPILE", "0") in ("", "0"):
        return []
    check_compiler()
    try:
        from mypyc.build import mypycify
    except ImportError:
        raise SystemExit("RTMPSRV_COMPILE is set, and without build isolation that needs mypy") from None
    found = [name for package in PACKAGES for name in glob(f"rtmpsrv/{package}/*.py")]
    modules = sorted(
        name for name in (*found, *SINGLE) if name not in INTERPRETED and not name.endswith("__init__.py")
    )
    # scripts/check looks for errors of types, with the stubs that takes; here only the types count.
    options = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]
    compiled: list[Extension] = mypycify([*options, *modules], debug_level="0", group_name="rtmpsrv.native")
    for extension in compiled:
        # A new warning of somebody's compiler is no reason to fail.
        extension.extra_compile_args = [flag for flag in extension.extra_compile_args if flag != "-Werror"]
    return compiled


def check_compiler() -> None:
    """End with a message where C cannot be compiled."""
    from setuptools._distutils.ccompiler import new_compiler
    from setuptools._distutils.errors import CompileError, DistutilsError
    from setuptools._distutils.sysconfig import customize_compiler, get_python_inc

    compiler = new_compiler()
    customize_compiler(compiler)
    with TemporaryDirectory() as directory:
        source = Path(directory, "probe.c")
        source.write_text("#include <Python.h>\n")
        try:
            compiler.compile([str(source)], output_dir=directory, include_dirs=[get_python_inc()])
        except (CompileError, DistutilsError) as exc:
            raise SystemExit(
                f"RTMPSRV_COMPILE is set, and C cannot be compiled here: {exc}. Debian and Ubuntu have what "
                "that needs in gcc, libc6-dev and python3-dev. Without the variable no C is compiled."
            ) from None


setup(ext_modules=extensions())
