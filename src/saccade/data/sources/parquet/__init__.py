"""Parquet files in the Hugging Face image convention: the source and its helpers."""

from . import source as source
