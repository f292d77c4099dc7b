"""What a licence of weights forbids, in words. Not legal advice: what its name says, so that nobody overlooks it."""

import re

from ..core.addresses import shown
from ..core.errors import printable

# A word of the licence's name -> what it does not allow. The first that is found counts.
RESTRICTIONS = (
    ("nc", "not free for commercial use"),
    ("noncommercial", "not free for commercial use"),
    ("dinov3", "with terms of its own (Meta's DINOv3 licence)"),
    ("seer", "not free for commercial use"),
    ("apple", "with terms of its own (Apple's sample code licence)"),
    ("amlr", "for research only"),
    ("research", "for research only"),
    ("other", "with terms of its own"),
)


def restriction(licence: str) -> str:
    """What is to be said of a licence that is not free for any use; "" for the others, and for one that is unknown."""
    words = set(re.split(r"[^a-z0-9]+", licence.lower().replace("non-commercial", "noncommercial")))
    return next((said for word, said in RESTRICTIONS if word in words), "")


def restricted(weights: str, licence: str) -> str:
    """That `weights`, a file or an address, are not free for any use; "" where they are, or nobody knows."""
    said = restriction(licence)
    return f"the weights {shown(weights)} are {said} ({printable(licence[:80])})" if said else ""
