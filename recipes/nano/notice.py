"""NOTICE-ICONS.md, the icon sets we owe: ``python recipes/nano/notice.py WORK NOTICE-ICONS.md``.

One line a set that trained the nano models or is in the benchmark, with author, licence and links.
"""

import json
import sys
from pathlib import Path
from typing import Any

from icons import PACKAGE, VERSION

HEAD = f"""# Icon sets

The embedded nano models were trained on pictures of icons, and the embedded `pictograms` benchmark consists of
pictures of icons. All come from the npm package `{PACKAGE}` {VERSION}, which collects the sets below. We changed
them: each icon was drawn at 64 by 64 pixels, and single-colour icons were given other colours. No set's author endorses
this project. The models contain no icons; the benchmark contains icons of the sets marked *benchmark*.

"""


def link(text: str, url: str | None) -> str:
    """Markdown: a link where there is an address."""
    text = text.replace("[", "(").replace("]", ")")
    return f"[{text}]({url})" if url else text


def line(prefix: str, info: dict[str, Any], uses: list[str]) -> str:
    """One set's line."""
    author, licence = info["author"], info["license"]
    return (f"- **{info['name']}** (`{prefix}`), {link(author['name'], author.get('url'))}, "
            f"{link(licence['spdx'], licence.get('url'))}: {' and '.join(uses)}")  # fmt: skip


def notice(work: Path) -> str:
    """The whole text."""
    sets = json.loads((work / "iconify" / "package" / "collections.json").read_text())
    shown = set(json.loads((work / "pictograms" / "pictograms.json").read_text())["sets"])
    rows = [json.loads(text) for text in (work / "icons.jsonl").open()]
    trained = {row["set"] for row in rows if not row["held_out"]}
    uses = {p: ["training"] * (p in trained) + ["benchmark"] * (p in shown) for p in sorted(trained | shown)}
    return HEAD + "\n".join(line(p, sets[p], use) for p, use in uses.items()) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(notice(Path(sys.argv[1])))
