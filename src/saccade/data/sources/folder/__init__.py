"""Folders of image files: the source, and what its sub-folders are."""

from . import source as source
