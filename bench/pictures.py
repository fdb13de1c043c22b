"""Frames of an episode as one file: a video (.mp4, .gif) or a film strip (.png)."""

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Frame = NDArray[np.uint8]  # [height, width, 3]

CELL, GAP = 195, 6  # of a film strip, in pixels: six frames are 1200, as wide as a README is shown at most
MARGIN = 12
PAPER, INK, FRAME = (255, 255, 255), (60, 60, 60), (200, 200, 200)
BLAND = 6  # in levels of 255: a sky that grows darker by less from row to row shows nothing
GIF_WIDTH = 320


def captioned(frame: Frame, text: str) -> Image.Image:
    """Return a frame with a line of text below it; width and height are even, as video codecs want them."""
    height, width, _ = frame.shape
    bar = 28
    image = Image.new("RGB", (width + width % 2, height + (height + bar) % 2 + bar), PAPER)
    image.paste(Image.fromarray(frame))
    ImageDraw.Draw(image).text((8, height + bar // 2), text, INK, _font(16), anchor="lm")
    return image


def mp4(images: Iterable[Image.Image], fps: Fraction) -> bytes:
    """Encode a video in H.264, which browsers and slides play; one image at a time is in memory."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = None
        for image in images:
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": "20", "preset": "fast"})
                stream.width, stream.height, stream.pix_fmt = image.width, image.height, "yuv420p"
                stream.thread_count = 1
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        if stream is not None:
            container.mux(stream.encode())
    return buffer.getvalue()


def gif(images: Iterable[Image.Image], fps: Fraction) -> bytes:
    """Encode an animation that repeats, at most `GIF_WIDTH` pixels wide; its clock has steps of 10 ms."""
    first, *rest = (_at_most(image, GIF_WIDTH).quantize(256, dither=Image.Dither.NONE) for image in images)
    buffer = io.BytesIO()
    duration = round(100 / fps) * 10
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=duration, loop=0)
    return buffer.getvalue()


def strip(frames: Sequence[Frame], captions: Sequence[str], title: str) -> bytes:
    """Draw frames side by side, cropped alike to where something is to be seen, each with its caption below."""
    box = crop(frames)
    cells = [_at_most(Image.fromarray(frame).crop(box), CELL) for frame in frames]
    width, height = cells[0].size
    head, foot = 30, 28
    image = Image.new("RGB", ((width + GAP) * len(cells) - GAP, head + height + foot), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((0, head // 2 - 2), title, INK, _font(18), anchor="lm")
    for i, (cell, caption) in enumerate(zip(cells, captions, strict=True)):
        x = i * (width + GAP)
        image.paste(cell, (x, head))
        draw.rectangle((x, head, x + width - 1, head + height - 1), outline=FRAME)
        draw.text((x + width // 2, head + height + foot // 2), caption, INK, _font(15), anchor="mm")
    buffer = io.BytesIO()  # a palette makes the file half as large, and a README quick
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def crop(frames: Sequence[Frame], least: tuple[int, int] = (CELL, CELL * 3 // 4)) -> tuple[int, int, int, int]:
    """Return the box (left, top, right, bottom) outside which all frames are bland: sky, or a plain background.

    A row or column at the edge is left out as long as it only repeats the one further in; a margin stays. The box is at
    least as wide and high as `least` where the frames are, so that nothing is enlarged.
    """
    film = np.stack(frames).astype(np.int16)
    bounds = []
    for axis, floor in zip((2, 1), least, strict=True):
        size = film.shape[axis]
        changes = np.abs(np.diff(film, axis=axis)).max(tuple({0, 1, 2, 3} - {axis})) > BLAND
        inner = np.flatnonzero(changes)
        low, high = (inner[0] + 1, inner[-1] + 1) if len(inner) else (0, size)
        low, high = max(0, int(low) - MARGIN), min(size, int(high) + MARGIN)
        if high - low < floor:  # in the middle of it what there is, unless that stands at the edge
            low = max(0, min((low + high - floor) // 2, size - floor))
            high = min(size, low + floor)
        bounds.append((low, high))
    (left, right), (top, bottom) = bounds
    return left, top, right, bottom


def _at_most(image: Image.Image, width: int) -> Image.Image:
    """Return the image, made smaller if it is wider."""
    if image.width <= width:
        return image
    return image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
