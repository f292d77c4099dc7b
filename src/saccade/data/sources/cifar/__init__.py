"""The files of CIFAR-10 and CIFAR-100 as they are published: the source and its helpers."""

from . import source as source
