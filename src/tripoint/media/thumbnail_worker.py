"""A process that makes small pictures of large ones: `python -m tripoint.media.thumbnail_worker`.

Pictures come from strangers and decoders have holes, so this is a process of its own with little memory, no network
in its hands and an end that is certain (thumbnails.py kills it). One JSON object a line comes in, one goes out for
each. It reads one file and writes one; nothing else.
"""

import json
import os
import resource
import sys
from typing import Any, Final

# A picture of this many pixels is 120 MB in memory; a phone's are 12 to 50 million.
MAX_PIXELS: Final = 40_000_000
# Enough for that twice over, and for the interpreter.
MEMORY_BYTES: Final = 1_000_000_000
# What people send each other. Each format more is a decoder more that strangers can feed.
FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP")


def work() -> None:
    """Answer jobs until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job: {source} is measured; with {target, width, height, crop} a thumbnail is written too.

    {width, height, type} of what was found or made, or {error: "not an image" | "too large"}. `type` None: the picture
    is no larger than what was asked for, and nothing was written.
    """
    from PIL import Image, ImageFile, UnidentifiedImageError

    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = None  # asked before anything is decoded, below
    try:
        with Image.open(job["source"], formats=FORMATS) as image:
            # Only the header was read so far.
            if image.width * image.height > MAX_PIXELS:
                return {"error": "too large"}
            if "target" not in job:
                width, height = _upright_size(image)
                return {"width": width, "height": height, "type": f"image/{(image.format or '').lower()}"}
            return _thumbnail(image, job["target"], job["width"], job["height"], job["crop"])
    except MemoryError:
        return {"error": "too large"}
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, ZeroDivisionError, OverflowError):
        # What Pillow raises for files that are not what they say.
        return {"error": "not an image"}


def _upright_size(image: Any) -> tuple[int, int]:
    """The size as it is shown: a camera held sideways says so in the EXIF data."""
    turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else (image.width, image.height)


def _thumbnail(image: Any, target: str, width: int, height: int, crop: bool) -> dict[str, Any]:
    from PIL import Image, ImageOps

    shown = _upright_size(image)
    if shown[0] <= width and shown[1] <= height:
        # spec: client-server "Thumbnails": never larger than the original.
        return {"width": shown[0], "height": shown[1], "type": None}
    # A JPEG can be decoded at half or an eighth of its size for a fraction of the work.
    image.draft(None, (max(width, height) * 2, max(width, height) * 2))
    small = ImageOps.exif_transpose(image)
    transparent = small.mode in ("RGBA", "LA", "PA") or "transparency" in small.info
    small = small.convert("RGBA" if transparent else "RGB")
    if crop:
        size = (min(width, small.width), min(height, small.height))
        small = ImageOps.fit(small, size, Image.Resampling.LANCZOS)
    else:
        small.thumbnail((width, height), Image.Resampling.LANCZOS)
    if transparent:
        small.save(target, "PNG")
    else:
        small.save(target, "JPEG", quality=80)
    return {"width": small.width, "height": small.height, "type": "image/png" if transparent else "image/jpeg"}


if __name__ == "__main__":
    work()
