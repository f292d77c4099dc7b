"""Which images must stay together: equal or nearly equal ones, and those of one group of the source, in chains."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .records import NONE, RecordTable
from .scan import ScanReport

CHUNK = 65_536  # names that are objects of Python at once


@dataclass(frozen=True, kw_only=True)
class Groups:
    """`number_M` int32: the group of each of M images, counted from 0 as they first come.

    A group has a name, which decides its place in a draw: the least of the digests of its images, `digest_GB` (uint8),
    or what is in `named`, where the name of a group of the source is less.
    """

    number_M: np.ndarray
    digest_GB: np.ndarray
    named: Mapping[int, bytes]

    def ranks(self, seed: int) -> np.ndarray:
        """uint64 (G,): a hash of each group's name and the seed, which nothing else moves."""
        keyed = hashlib.blake2b(digest_size=8, key=str(seed).encode())

        def rank(name: bytes) -> bytes:
            own = keyed.copy()
            own.update(name)
            return own.digest()

        size, rank_G = self.digest_GB.shape[1], np.empty(len(self.digest_GB), np.uint64)
        for start in range(0, len(rank_G), CHUNK):
            content = self.digest_GB[start : start + CHUNK].tobytes()
            ranks = b"".join(rank(content[place : place + size]) for place in range(0, len(content), size))
            rank_G[start : start + CHUNK] = np.frombuffer(ranks, ">u8")
        for group, name in self.named.items():
            rank_G[group] = int.from_bytes(rank(name), "big")
        return rank_G


def group_images(table: RecordTable, scan: ScanReport, index_M: np.ndarray) -> Groups:
    """The groups of the images `index_M`; what links them through other images does not count."""
    content_M = scan.content_N[index_M]
    link_L2 = _links(table, scan, index_M, content_M)
    if not len(link_L2):
        number_M, first_G = _numbered(content_M)
        return Groups(number_M=number_M, digest_GB=scan.pixel_digest_N[index_M[first_G]], named={})
    from scipy.sparse import coo_matrix  # here: most sets link nothing, and the import takes a while
    from scipy.sparse.csgraph import connected_components

    num_nodes = int(scan.content_N.max()) + 1 + len(table.groups)
    ones = np.ones(len(link_L2), bool)
    links = coo_matrix((ones, (link_L2[:, 0], link_L2[:, 1])), shape=(num_nodes, num_nodes))
    component_X = connected_components(links, directed=False)[1]
    number_M, first_G = _numbered(component_X[content_M])
    least_M = np.lexsort((content_M, number_M))  # of each group, the image of the least digest stands first
    least_G = least_M[np.flatnonzero(np.diff(number_M[least_M], prepend=NONE))]
    digest_GB = scan.pixel_digest_N[index_M[least_G]]
    return Groups(number_M=number_M, digest_GB=digest_GB, named=_named(table, index_M, number_M, digest_GB))


def _links(table: RecordTable, scan: ScanReport, index_M: np.ndarray, content_M: np.ndarray) -> np.ndarray:
    """int64 (L, 2): pairs of nodes that belong together; nodes are contents and, behind them, groups of the source."""
    links = [np.zeros((0, 2), np.int64)]
    is_asked_N = np.zeros(len(scan.content_N), bool)
    is_asked_N[index_M] = True
    for near_N in scan.near_groups[0]:
        node_N = scan.content_N[near_N[is_asked_N[near_N]]].astype(np.int64)
        if len(node_N) > 1:
            links.append(np.stack([np.full(len(node_N) - 1, node_N[0]), node_N[1:]], axis=1))
    if table.group_N is not None:
        group_M = table.group_N[index_M].astype(np.int64)
        has_M = group_M != NONE
        first_group = int(scan.content_N.max(initial=-1)) + 1
        links.append(np.stack([content_M[has_M].astype(np.int64), first_group + group_M[has_M]], axis=1))
    return np.concatenate(links)


def _numbered(value_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(number_M, first_G): equal values have one number, counted as they first come, and where each first comes."""
    _, first_G, number_M = np.unique(value_M, return_index=True, return_inverse=True)
    order_G = np.argsort(first_G)
    place_G = np.empty(len(order_G), np.int32)
    place_G[order_G] = np.arange(len(order_G), dtype=np.int32)
    return place_G[number_M.reshape(-1)], first_G[order_G]


def _named(table: RecordTable, index_M: np.ndarray, number_M: np.ndarray, digest_GB: np.ndarray) -> dict[int, bytes]:
    """The groups that are called after one of the source, since its name is less than all digests."""
    if table.group_N is None:
        return {}
    named: dict[int, bytes] = {}
    pair_M = np.stack([number_M.astype(np.int64), table.group_N[index_M].astype(np.int64)], axis=1)
    for number, group in np.unique(pair_M[pair_M[:, 1] != NONE], axis=0).tolist():
        name = b"group:" + table.groups[group].encode("utf-8", "surrogateescape")
        if name < named.get(number, digest_GB[number].tobytes()):
            named[number] = name
    return named
