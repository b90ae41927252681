"""WebP decoded straight to the size that is needed, as JPEG's draft mode does.

Pillow decodes every WebP as if it were an animation: the canvas twice, a copy of it as bytes and another as an image,
130 to 170 MB for 8 megapixels, on a box of 256. The library beneath it scales while it decodes and needs a tenth. Its
public C functions are called here, in the copy of the library that Pillow has loaded already.
Interface: https://developers.google.com/speed/webp/docs/api, "Advanced Decoding API".
"""

import ctypes
from contextlib import suppress

from PIL import Image, _webp

_DECODER_ABI = 0x0209  # the library refuses another major number; it has been 2 since 2012
_MODE_RGBA = 1
_CUT_SHORT = (5, 7)  # VP8_STATUS_SUSPENDED, VP8_STATUS_NOT_ENOUGH_DATA


class _Features(ctypes.Structure):
    _fields_ = (
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("has_alpha", ctypes.c_int),
        ("has_animation", ctypes.c_int),
        ("format", ctypes.c_int),
        ("pad", ctypes.c_uint32 * 5),
    )


class _RgbaBuffer(ctypes.Structure):
    _fields_ = (("rgba", ctypes.c_void_p), ("stride", ctypes.c_int), ("size", ctypes.c_size_t))


class _YuvaBuffer(ctypes.Structure):
    _fields_ = (
        ("planes", ctypes.c_void_p * 4),
        ("strides", ctypes.c_int * 4),
        ("sizes", ctypes.c_size_t * 4),
    )


class _AnyBuffer(ctypes.Union):
    _fields_ = (("rgba", _RgbaBuffer), ("yuva", _YuvaBuffer))


class _Output(ctypes.Structure):
    _fields_ = (
        ("colorspace", ctypes.c_int),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("is_external_memory", ctypes.c_int),
        ("buffer", _AnyBuffer),
        ("pad", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    _fields_ = (
        ("bypass_filtering", ctypes.c_int),
        ("no_fancy_upsampling", ctypes.c_int),
        ("use_cropping", ctypes.c_int),
        ("crop", ctypes.c_int * 4),
        ("use_scaling", ctypes.c_int),
        ("scaled_width", ctypes.c_int),
        ("scaled_height", ctypes.c_int),
        ("use_threads", ctypes.c_int),
        ("dithering_strength", ctypes.c_int),
        ("flip", ctypes.c_int),
        ("alpha_dithering_strength", ctypes.c_int),
        ("pad", ctypes.c_uint32 * 5),
    )


class _Config(ctypes.Structure):
    _fields_ = (("input", _Features), ("output", _Output), ("options", _Options))


def _library() -> ctypes.CDLL | None:
    """The library that Pillow's own module is linked with; None where its build hides the functions."""
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(_webp.__file__)
        library.WebPDecode.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(_Config))
        library.WebPInitDecoderConfigInternal.argtypes = (ctypes.POINTER(_Config), ctypes.c_int)
        return library
    return None


_LIBRARY = _library()


def decode(data: bytes, size: tuple[int, int]) -> Image.Image | None:
    """A still WebP as RGBA, scaled to ``size`` while it is decoded; None where only Pillow can decode here.

    Raises ValueError for what the library can't decode. The colours of transparent pixels are weighed in only where the
    picture was made without loss: one with loss and transparency should be asked for in its own size.
    """
    config = _Config()
    if _LIBRARY is None or not _LIBRARY.WebPInitDecoderConfigInternal(config, _DECODER_ABI):
        return None
    width, height = size
    pixels = bytearray(width * height * 4)
    config.output.colorspace = _MODE_RGBA
    config.output.is_external_memory = 1
    config.output.buffer.rgba.rgba = ctypes.addressof(ctypes.c_char.from_buffer(pixels))
    config.output.buffer.rgba.stride = width * 4
    config.output.buffer.rgba.size = len(pixels)
    config.options.use_scaling = 1
    config.options.scaled_width = width
    config.options.scaled_height = height
    status = _LIBRARY.WebPDecode(data, len(data), config)
    if status:
        raise ValueError("truncated" if status in _CUT_SHORT else f"not decodable: {status}")
    return Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1)
