"""A page that is one file: one style, one script, and a policy that allows these two and nothing else."""

from ..core.page_policy import digest_source
from .html import Markup, element


def closed_document(
    title: str, body: Markup, style: str, script: str, pictures: str = "data:", is_module: bool = False
) -> str:
    """The page. `pictures` says where its images may come from; no other address is asked, and no form leads anywhere.
    With `is_module` the script runs as one."""
    policy = (
        f"default-src 'none'; img-src {pictures}; style-src {digest_source(style)}; "
        f"script-src {digest_source(script)}; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", {}, title),
        Markup(f"<style>{style}</style>"),
    )
    kind = ' type="module"' if is_module else ""
    scripted = Markup(f"<script{kind}>{script}</script>")
    return "<!doctype html>\n" + element("html", {"lang": "en"}, head, element("body", {}, body, scripted)).text + "\n"
