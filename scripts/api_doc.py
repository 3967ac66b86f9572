"""Write rtmpsrv/web/openapi.json and docs/api.md from the API's code; --check tells if they are stale."""

from __future__ import annotations

import sys
from pathlib import Path

from own_python import use_venv

PROJECT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    use_venv()
    from apilib.description import document, text
    from apilib.page import page

    stale = []
    for path, wanted in (("rtmpsrv/web/openapi.json", text()), ("docs/api.md", page(document()))):
        file = PROJECT / path
        if arguments != ["--check"]:
            file.write_text(wanted)
        elif not file.exists() or file.read_text() != wanted:
            stale.append(path)
    if stale:
        print(f"{' and '.join(stale)} differ from the code of the API; run scripts/api_doc.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
