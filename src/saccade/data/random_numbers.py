"""Random numbers as a pure function of (seed, epoch, stream, sample index): no state, no order, any thread.

Philox 4x32 with 10 rounds: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The
cipher is a bijection of its 128-bit counter, so two samples, epochs or streams of one seed never share a block.
"""

import math
import zlib

import numpy as np

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUNDS = 10
_MIXING_ROUNDS = 8  # of `keyed_permutation`, half of them for each half of a place


def philox_words(counter: tuple[np.ndarray, ...], key: tuple[int, int]) -> np.ndarray:
    """Four 32-bit words (uint64, shape (4, ...)) for each counter of four 32-bit words, under a key of two."""
    first, second, third, fourth = (np.asarray(word, dtype=np.uint64) for word in counter)
    for number in range(_ROUNDS):
        left = np.uint64((key[0] + number * _KEY_STEPS[0]) & 0xFFFFFFFF)
        right = np.uint64((key[1] + number * _KEY_STEPS[1]) & 0xFFFFFFFF)
        low, high = _MULTIPLIERS[0] * first, _MULTIPLIERS[1] * third
        first, second = (high >> _HALF) ^ second ^ left, high & _WORD
        third, fourth = (low >> _HALF) ^ fourth ^ right, low & _WORD
    return np.stack([first, second, third, fourth])


def random_words(seed: int, epoch: int, stream: str, index_B: np.ndarray, num: int) -> np.ndarray:
    """`num` 32-bit words for each sample: uint64 (B, num). `stream` names the purpose, such as an augmentation.

    `seed` counts modulo 2**64, `epoch` modulo 2**32; sample indices are below 2**32.
    """
    num_blocks = -(-num // 4)
    index_BN = np.broadcast_to(np.asarray(index_B, dtype=np.uint64)[:, None], (len(index_B), num_blocks))
    block_BN = np.broadcast_to(np.arange(num_blocks, dtype=np.uint64), index_BN.shape)
    epoch_BN = np.broadcast_to(np.uint64(epoch & 0xFFFFFFFF), index_BN.shape)
    stream_BN = np.broadcast_to(np.uint64(zlib.crc32(stream.encode())), index_BN.shape)
    word_4BN = philox_words((index_BN, block_BN, epoch_BN, stream_BN), (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))
    return word_4BN.transpose(1, 2, 0).reshape(len(index_B), 4 * num_blocks)[:, :num]


def uniform(seed: int, epoch: int, stream: str, index_B: np.ndarray, num: int) -> np.ndarray:
    """`num` numbers for each sample, float64 (B, num), uniform in the open interval 0 to 1 (2**32 values)."""
    return (random_words(seed, epoch, stream, index_B, num).astype(np.float64) + 0.5) * 2.0**-32


def permutation(seed: int, epoch: int, num: int) -> np.ndarray:
    """A uniformly random order of 0 to num - 1, int64 (num,): the samples sorted by 64 random bits each."""
    word_N2 = random_words(seed, epoch, "order", np.arange(num), 2)
    return np.argsort((word_N2[:, 0] << _HALF) | word_N2[:, 1], kind="stable")


def keyed_permutation(seed: int, epoch: int, num: int, place_B: np.ndarray) -> np.ndarray:
    """What stands at the places `place_B` of a random order of 0 to num - 1, int64 (B,), without the order itself.

    Memory does not grow with `num`. The order is another one than that of `permutation`. A place is a row and a column
    of a grid of about `num` cells; in turn each is shifted by a random number that follows from the other (a Feistel
    network over Philox), and cells beyond `num` are walked through (Black and Rogaway, "Ciphers with arbitrary finite
    domains", CT-RSA 2002).
    """
    num_rows = math.isqrt(num - 1) + 1
    num_columns = -(-num // num_rows)
    position_B = _mixed(seed, epoch, np.asarray(place_B, dtype=np.uint64), num_rows, num_columns)
    while len(outside_M := np.flatnonzero(position_B >= num)):
        position_B[outside_M] = _mixed(seed, epoch, position_B[outside_M], num_rows, num_columns)
    return position_B.astype(np.int64)


def _mixed(seed: int, epoch: int, place_B: np.ndarray, num_rows: int, num_columns: int) -> np.ndarray:
    """A bijection of the cells of the grid, uint64."""
    key = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
    sizes = (np.uint64(num_rows), np.uint64(num_columns))
    halves = [place_B // sizes[1], place_B % sizes[1]]
    stream_B = np.broadcast_to(np.uint64(zlib.crc32(b"keyed order")), place_B.shape)
    epoch_B = np.broadcast_to(np.uint64(epoch & 0xFFFFFFFF), place_B.shape)
    for number in range(_MIXING_ROUNDS):
        moved = number % 2
        round_B = np.broadcast_to(np.uint64(number), place_B.shape)
        word_4B = philox_words((halves[1 - moved], round_B, epoch_B, stream_B), key)
        shift_B = ((word_4B[0] << _HALF) | word_4B[1]) % sizes[moved]
        halves[moved] = (halves[moved] + shift_B) % sizes[moved]
    mixed_B: np.ndarray = halves[0] * sizes[1] + halves[1]
    return mixed_B
