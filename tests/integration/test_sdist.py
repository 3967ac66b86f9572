"""The archive of the sources holds all of the project, so that who has it can run the checks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.server_process import PROJECT

FOLDERS = ("config", "docs", "examples", "rtmpsrv", "scripts", "tests")
BUILD = (
    "import sys; sys.path.insert(0, 'config'); import build_backend; build_backend.build_sdist(sys.argv[1])"
)


def test_the_archive_holds_all_of_the_project(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    no_sources = shutil.ignore_patterns("__pycache__", "*.so", "*.pyc", ".*_cache")
    for name in FOLDERS:
        shutil.copytree(PROJECT / name, copy / name, ignore=no_sources)
    for file in PROJECT.iterdir():
        if file.is_file() and file.name not in (".git", ".env", ".coverage"):
            shutil.copy(file, copy)
    subprocess.run(
        [sys.executable, "-c", BUILD, tmp_path], cwd=copy, check=True, capture_output=True, timeout=120
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {one.name.partition("/")[2] for one in packed.getmembers() if one.isfile()}
    there = {str(file.relative_to(PROJECT)) for name in FOLDERS for file in _sources(PROJECT / name)}
    assert there - names == set()
    assert {"README.md", "CHANGELOG.md", "LICENSE", "Dockerfile", "setup.py", "pyproject.toml"} <= names


def _sources(folder: Path) -> list[Path]:
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix not in (".so", ".pyc")
    ]
