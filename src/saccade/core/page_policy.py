"""What a content security policy calls the scripts and styles that stand in a page."""

import base64
import hashlib


def digest_source(text: str) -> str:
    """`'sha256-...'`, quotes included: the one inline script, or style, with the content `text`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
