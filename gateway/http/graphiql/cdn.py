"""The page of a clone without Node: pinned files of one CDN, each held to its integrity hash."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

HOST = "https://unpkg.com"
SCRIPT = Path(__file__).parent / "cdn.js"


class PinnedFile(NamedTuple):
    """One file of an npm package; `integrity` is the SHA-384 of that very file in the published package."""

    path: str
    integrity: str

    @property
    def url(self) -> str:
        return f"{HOST}/{self.path}"


# GraphiQL 3 is the last one published as files that a page can load without a build step, React 18 the last such React.
SCRIPTS = (
    PinnedFile(
        "react@18.3.1/umd/react.production.min.js",
        "sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z",
    ),
    PinnedFile(
        "react-dom@18.3.1/umd/react-dom.production.min.js",
        "sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1",
    ),
    PinnedFile(
        "graphiql@3.8.3/graphiql.min.js",
        "sha384-HbRVEFG0JGJZeAHCJ9Xm2+tpknBQ7QZmNlO/DgZtkZ0aJSypT96YYGRNod99l9Ie",
    ),
    PinnedFile(
        "@graphiql/plugin-explorer@1.0.2/dist/index.umd.js",
        "sha384-2oonKe47vfHIZnmB6ZZ10vl7T0Y+qrHQF2cmNTaFDuPshpKqpUMGMc9jgj9MLDZ9",
    ),
)
STYLES = (
    PinnedFile(
        "graphiql@3.8.3/graphiql.min.css",
        "sha384-Mq3vbRBY71jfjQAt/DcjxUIYY33ksal4cgdRt9U/hNPvHBCaT2JfJ/PTRiPKf0aM",
    ),
    PinnedFile(
        "@graphiql/plugin-explorer@1.0.2/dist/style.css",
        "sha384-5DFJlDPW2tSATRbM8kzoP1j194jexLswuNmClWoRr2Q0x7R68JIQzPHZ02Faktwi",
    ),
)

# The files by their whole address, not the host: the CDN carries every npm package there is.
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'self' {' '.join(file.url for file in SCRIPTS)}",
        f"style-src 'self' 'unsafe-inline' {' '.join(file.url for file in STYLES)}",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def build_page(tabs: str) -> str:
    """The HTML; it says on its face where its parts come from and how to have the ones that come from here."""
    styles = "\n".join(
        f'    <link rel="stylesheet" href="{file.url}" integrity="{file.integrity}" crossorigin="anonymous" />'
        for file in STYLES
    )
    scripts = "\n".join(
        f'    <script defer src="{file.url}" integrity="{file.integrity}" crossorigin="anonymous"></script>'
        for file in SCRIPTS
    )
    return f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="robots" content="noindex" />
    <title>Tandem</title>
    <link rel="icon" href="data:," />
    <meta name="tandem-tabs" content="{escape(tabs)}" />
{styles}
    <style>
      html, body {{ height: 100%; margin: 0; }}
      body {{ display: flex; flex-direction: column; }}
      #graphiql {{ flex: 1; min-height: 0; }}
      #note {{ padding: 4px 12px; font: 13px/1.4 system-ui, sans-serif; background: #fff4ce; color: #3b3a39; }}
    </style>
  </head>
  <body>
    <div id="note">
      GraphiQL 3 from {HOST.removeprefix("https://")}, pinned and hash-checked, because this installation carries no
      bundle.
      <code>make graphiql</code> (Node 20) builds GraphiQL 5, which asks no other host for anything.
    </div>
    <div id="graphiql">Loading GraphiQL …</div>
    <noscript>GraphiQL needs JavaScript. The endpoint itself answers POST requests at this address.</noscript>
{scripts}
    <script defer src="/graphiql/cdn.js"></script>
  </body>
</html>
"""
