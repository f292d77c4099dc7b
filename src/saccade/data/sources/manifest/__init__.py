"""A CSV file that names images and their labels: the source and its helpers."""

from . import source as source
