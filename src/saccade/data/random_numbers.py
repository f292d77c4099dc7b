"""Random numbers as a pure function of (seed, epoch, stream, sample index): no state, no order, any thread.

Philox 4x32 with 10 rounds: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The
cipher is a bijection of its 128-bit counter, so two samples, epochs or streams of one seed never share a block.
"""

import zlib

import numpy as np

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUNDS = 10


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
