"""When two images are the same: digests of what a file holds, and of the pixels that it decodes to.

Equality of images is that of their pixels, upright and in colour: a PNG and a BMP of one picture are equal, a grey
picture is equal to itself on three channels, and a comment in a file changes nothing. Equality of bytes says whether a
file was changed.
"""

import hashlib

import numpy as np

DIGEST_BYTES = 16
BLOCK_WORDS = 4096
BLOCK_BYTES = 4 * BLOCK_WORDS  # pictures of less than one block are hashed as they are
BLOCKS_AT_ONCE = 64

# Multipliers of a multilinear hash, drawn once and for all: PCG64 is the same on every machine (NumPy, NEP 19).
_MULTIPLIER_W = np.random.Generator(np.random.PCG64(0)).integers(0, 1 << 64, BLOCK_WORDS, np.uint64) | np.uint64(1)


def content_digest(content: bytes | np.ndarray) -> bytes:
    """16 bytes that equal files share: BLAKE2b of the encoded bytes, or of shape and pixels; of anything else zeros."""
    if isinstance(content, bytes):
        return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
    if not isinstance(content, np.ndarray) or content.dtype.hasobject:
        return bytes(DIGEST_BYTES)  # it is not decoded, either
    digest = hashlib.blake2b(repr(content.shape).encode(), digest_size=DIGEST_BYTES)
    digest.update(np.ascontiguousarray(content).data)
    return digest.digest()


def pixel_digest(pixels: np.ndarray, grey: bool) -> bytes:
    """16 bytes that equal pictures share, of pixels uint8 (H, W) or (H, W, 3), or bands uint8 or uint16 (H, W, C);
    `grey`: their channels are equal.

    BLAKE2b of shape and pixels; of pictures above 16 KiB, instead of each whole block of 16 KiB the sum of its words
    times random odd numbers modulo 2^64: eight times faster, and two blocks that differ share it once in 2^33 or more
    (multilinear hashing: Lemire and Kaser 2014, Strongly universal string hashing is fast, section 3).
    """
    if grey and pixels.ndim == 3:
        pixels = pixels[:, :, 0]
    flat_B = np.ascontiguousarray(pixels).reshape(-1)
    if flat_B.dtype != np.uint8:
        flat_B = flat_B.astype("<u2").view(np.uint8)
    num_bytes = len(flat_B) // BLOCK_BYTES * BLOCK_BYTES
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=DIGEST_BYTES)
    for start in range(0, num_bytes, BLOCKS_AT_ONCE * BLOCK_BYTES):
        part = flat_B[start : min(start + BLOCKS_AT_ONCE * BLOCK_BYTES, num_bytes)]
        word_NW = part.view("<u4").reshape(-1, BLOCK_WORDS)  # einsum widens words as it goes: no copy of them all
        sum_N = np.einsum("nw,w->n", word_NW, _MULTIPLIER_W, dtype=np.uint64, casting="unsafe")
        digest.update(sum_N.astype("<u8").tobytes())
    digest.update(flat_B[num_bytes:].data)
    return digest.digest()
