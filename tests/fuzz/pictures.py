"""Pictures whose one grey says which class they are of, so that each can be found again."""

import functools
import io

from PIL import Image

from benchmark.data.images import ImageData

from .harness import wrong

SIZE = 8


def level(name: str) -> int:
    """The grey of a class, from 40 to 215."""
    return 40 + sum(map(ord, name)) * 37 % 176


@functools.cache
def picture(suffix: str, mode: str, size: tuple[int, int], grey: int) -> bytes:
    """A picture in the format of its suffix, in a mode that this has."""
    written = io.BytesIO()
    image = Image.new("L", size, grey)
    kind = Image.registered_extensions().get(suffix.lower(), "PNG")
    try:
        image.convert(mode).save(written, kind)
    except (OSError, ValueError, KeyError):
        return picture(".png", "L", size, grey)
    return written.getvalue()


def sound(images: ImageData) -> None:
    """Raise Finding for names that cannot be written down, or are not told apart."""
    for name in (images.card, *images.class_names):
        try:
            name.encode()
        except UnicodeEncodeError:
            wrong("names of classes and data sets can be written down", repr(name))
    if len(set(images.class_names)) < len(images.class_names):
        wrong("names of classes differ", str(images.class_names))
    assert len(images.fingerprint) == 64
