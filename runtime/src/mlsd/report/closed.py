"""Proof that a page is self-contained: it is parsed, and whatever a browser would fetch is listed."""

from html.parser import HTMLParser

FETCHING = frozenset(
    {"script", "link", "img", "iframe", "object", "embed", "audio", "video", "source", "base", "image"}
)
ADDRESSES = frozenset({"src", "srcset", "href", "xlink:href", "data", "action", "poster"})


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._style = tag == "style"
        if tag in FETCHING:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if name in ADDRESSES and not (value or "").startswith("#"):
                self.found.append(f"{name}={value}")
            if name.startswith("on") or "url(" in (value or ""):
                self.found.append(f"{name}={value}")

    def handle_endtag(self, tag: str) -> None:
        self._style = self._style and tag != "style"

    def handle_data(self, data: str) -> None:
        if self._style and ("url(" in data or "@import" in data):
            self.found.append("style sheet")


def outside(page: str) -> list[str]:
    """Everything on an HTML page that would load or run something; empty for a self-contained page."""
    reader = _Reader()
    reader.feed(page)
    return reader.found
