"""Pictures brought within a provider's limits, by Pillow (extra `attach`) and only where they are not already."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

from batchgen.attachments.cells import AttachmentError
from batchgen.attachments.limits import AttachmentLimits
from batchgen.attachments.settings import AttachSettings
from batchgen.attachments.traits import looks_cut, shown_otherwise
from batchgen.extras import unusable
from batchgen.tokens.pictures import read_picture
from batchgen.values import Attachment

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 120_000_000
"""A picture with more is refused unread: opened it would take half a gigabyte."""

LARGE_PIXELS = 25_000_000
"""A picture with more is opened while no other such one is: a hundred megabytes and more."""

QUALITY = 90
"""JPEG quality of pictures that are made smaller."""

_LARGE = threading.Lock()


def fitting(
    data: bytes, attachment: Attachment, limits: AttachmentLimits, settings: AttachSettings
) -> Iterator[tuple[str, bytes]]:
    """Yield a file's pictures as (form, bytes) that the provider takes: mostly the file as it is.

    A picture is converted if the provider does not take its form or may show it otherwise than it is meant (`traits`),
    and made smaller (sides in proportion, JPEG, or PNG where it is transparent) if it has too many bytes or too long a
    side. Each page of a TIFF file is a picture. Raises `AttachmentError`.
    """
    picture = read_picture(data)
    size = None if picture is None else picture.size
    if size is None or picture is None:
        raise AttachmentError(f"{attachment.name}: the picture is damaged, its size cannot be read")
    check_shape(attachment.name, size, limits)
    longest = min(limits.longest, settings.max_side or limits.longest)
    taken = picture.kind in limits.pictures and (picture.kind in ("jpeg", "png") or max(size) <= limits.common)
    cut = looks_cut(picture.kind, data)
    fits = len(data) <= limits.bytes and max(size) <= longest
    if taken and not cut and fits and not shown_otherwise(picture.kind, data):
        yield picture.kind, data
        return
    if (lacking := unusable("attach", "PIL")) is not None:
        if cut:
            raise AttachmentError(f"{attachment.name}: the picture is damaged, its end is missing")
        raise AttachmentError(f"{attachment.name}: converting, turning or shrinking a picture needs {lacking}")
    if picture.kind == "heic" or (picture.kind == "avif" and not _reads_avif()):
        form = picture.kind.upper()
        raise AttachmentError(f"{attachment.name}: {form} pictures cannot be read here; convert it to JPEG")
    with _LARGE if size[0] * size[1] > LARGE_PIXELS else nullcontext():
        yield from _converted(data, attachment.name, limits, longest, settings.max_pages)


def _reads_avif() -> bool:
    from PIL import features

    return bool(features.check("avif")) if "avif" in features.modules else False


def check_shape(name: str, size: tuple[int, int], limits: AttachmentLimits) -> None:
    """Raise `AttachmentError` for a picture that no change of its size makes acceptable."""
    shown = f"{name}: the picture has {size[0]:,} x {size[1]:,} pixels"
    if min(size) < limits.shortest:
        raise AttachmentError(f"{shown}; the provider wants {limits.shortest} on each side at least")
    if max(size) > limits.ratio * min(size):
        raise AttachmentError(f"{shown}; the provider takes no side more than {limits.ratio:g} times the other")
    if size[0] * size[1] > MOST_PIXELS:
        raise AttachmentError(f"{shown}, more than {MOST_PIXELS:,}")


def _converted(
    data: bytes, name: str, limits: AttachmentLimits, longest: int, most: int
) -> Iterator[tuple[str, bytes]]:
    from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `MOST_PIXELS` has been looked at
    try:
        with Image.open(io.BytesIO(data)) as opened:
            frames = getattr(opened, "n_frames", 1) if opened.format == "TIFF" else 1
            if frames > most:
                raise AttachmentError(f"{name}: {frames:,} pages are more than attach.max_pages ({most:,})")
            for number, frame in enumerate(ImageSequence.Iterator(opened)):
                if number == frames:
                    break
                picture = ImageOps.exif_transpose(frame) or frame
                yield encode(picture, name, limits, longest)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise AttachmentError(f"{name}: the picture is damaged ({error})") from error


def encode(picture: object, name: str, limits: AttachmentLimits, longest: int) -> tuple[str, bytes]:
    """Return a picture of Pillow's as (form, bytes), small enough. Raises `AttachmentError`."""
    from PIL import Image

    assert isinstance(picture, Image.Image)
    clear = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    form = "png" if clear and "png" in limits.pictures else "jpeg"
    shown = _eight_bits(picture).convert("RGBA" if form == "png" else "RGB")
    for _ in range(12):
        if max(shown.size) > longest:
            share = longest / max(shown.size)
            shown = shown.resize(
                [max(1, round(side * share)) for side in shown.size], Image.Resampling.LANCZOS, reducing_gap=3.0
            )
        out = io.BytesIO()
        if form == "png":
            shown.save(out, "PNG", optimize=True)
        else:
            shown.save(out, "JPEG", quality=QUALITY)
        if out.tell() <= limits.bytes:
            return form, out.getvalue()
        longest = max(shown.size) * 3 // 4
    raise AttachmentError(f"{name}: the picture cannot be made small enough")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a grey picture of more than 8 bits with its whole range of brightness, which Pillow's `convert` cuts."""
    if picture.mode.startswith("I;16"):
        low, high = 0.0, 65_535.0
    elif picture.mode in ("I", "F"):  # of no range of its own
        low, high = cast("tuple[float, float]", picture.getextrema())
        low, high = (0.0, 65_535.0) if picture.mode == "I" and low >= 0 and high <= 65_535 else (low, high)
    else:
        return picture
    span = high - low or 1.0
    return picture.convert("F").point(lambda value: value * (255 / span) - low * 255 / span).convert("L")
