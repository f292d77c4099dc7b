"""Small DICOM files made from pixels, for the campaigns and the tests; needs pydicom."""

import io

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless, generate_uid

SECONDARY_CAPTURE = UID("1.2.840.10008.5.1.4.1.1.7")


def dicom_file(
    pixels: np.ndarray,
    bits: int = 8,
    photometric: str = "",
    window: tuple[float, float] | None = None,
    rescale: tuple[float, float] | None = None,
    is_rle: bool = False,
) -> bytes:
    """A file of pixels (H, W) grey or (H, W, 3) RGB uint8, or (frames, H, W) grey of 16 bits; `window` (centre, width),
    `rescale` (slope, intercept)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["seed"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = SECONDARY_CAPTURE, meta.MediaStorageSOPInstanceUID
    is_colour = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
    frames, height, width = (1, *pixels.shape[:2]) if is_colour or pixels.ndim == 2 else pixels.shape
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.Rows, dataset.Columns = height, width
    dataset.SamplesPerPixel = 3 if is_colour else 1
    if is_colour:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric or ("RGB" if is_colour else "MONOCHROME2")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * pixels.dtype.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    if window:
        dataset.WindowCenter, dataset.WindowWidth = window
    if rescale:
        dataset.RescaleSlope, dataset.RescaleIntercept = rescale
    dataset.PixelData = pixels.tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    if is_rle:
        dataset.compress(RLELossless)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
