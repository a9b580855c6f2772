"""What the site takes from outside docs/: README.md as its first page, other pages, the examples.

A hook of MkDocs (see mkdocs.yml): adds these files and turns the links to them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "clients/python/README.md": "client-python.md",
    "clients/js/README.md": "client-js.md",
}
FILES = ("LICENSE", "NOTICE", "config.yaml")
#: Files that pages link to, which the site offers as they are.
FOLDERS = ("examples", "clients/js/examples", "deploy")
LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    paths = [ROOT / name for name in FILES]
    for folder in FOLDERS:
        paths += sorted(path for path in (ROOT / folder).glob("*") if path.is_file())
    for path in paths:
        where = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, where, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are right on the site, where docs/ is the root."""
    del config, files
    sources = {made: source for source, made in PAGES.items()}
    folder = Path(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent

    def turned(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups(default="")
        place = (ROOT / folder / target).resolve()
        if not place.is_relative_to(ROOT):
            return match[0]
        inside = place.relative_to(ROOT).as_posix()
        inside = PAGES.get(inside, inside).removeprefix("docs/")
        return f"{before}{inside}{anchor}{after}"

    return LINK.sub(turned, markdown)
