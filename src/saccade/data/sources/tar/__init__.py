"""Tar shards in the WebDataset convention: the source and its helpers."""

from . import source as source
