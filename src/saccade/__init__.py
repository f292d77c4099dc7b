"""Saccade: from a folder of images to a convolutional classifier a person can trust."""

__version__ = "0.1.0"
