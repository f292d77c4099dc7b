"""The lessons, each made once for all tests: a network takes a second."""

from functools import cache

from saccade.learn import topics

lesson_of = cache(topics.lesson_of)
