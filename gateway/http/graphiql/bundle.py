"""Where the bundle that `make graphiql` builds lies, and the policy its page is served under."""

from __future__ import annotations

from pathlib import Path

BUILT = Path(__file__).parent / "built"

# Nothing may be asked of another host. Monaco, the editor, writes style attributes at run time, hence 'unsafe-inline'
# for styles alone; its fonts and the cursor images are data: URLs.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def is_built(directory: Path = BUILT) -> bool:
    """Whether this installation carries the bundle: a wheel does, a clone does after `make graphiql`."""
    return (directory / "index.html").is_file()
