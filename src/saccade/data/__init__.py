"""Labelled images: where they come from, how they are decoded, prepared, divided and brought into batches."""

from .images.opencv import import_opencv

import_opencv()
