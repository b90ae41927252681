"""Broken files: each is read or refused with a reason, in time, and nothing else happens."""

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conduit import images
from conduit.image_structure import ImageError, inspect
from conduit_testing.broken_pictures import broken, checksums_mended

SECONDS = 2.0


def _is_an_image_or_a_reason(content: bytes) -> None:
    started = time.thread_time()
    outcome: dict[str, bytes] | str
    try:
        outcome = images.covers(inspect(content))
    except ImageError as refusal:
        outcome = refusal.reason
    if isinstance(outcome, str):
        assert outcome.startswith(("is ", "has "))
    else:
        assert set(outcome) == {"small", "medium", "large"}
        assert all(file[8:12] == b"WEBP" for file in outcome.values())
    assert time.thread_time() - started < SECONDS


@pytest.mark.parametrize("mended", [bytes, checksums_mended], ids=["as it is", "checksums mended"])
def test_a_broken_image_is_read_or_refused_with_a_reason(mended: Callable[[bytes], bytes]) -> None:
    @given(content=broken())
    @settings(
        max_examples=400,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(content: bytes) -> None:
        _is_an_image_or_a_reason(mended(content))

    check()


@given(content=st.binary(max_size=300), start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"]))
@settings(max_examples=400, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
def test_noise_is_refused_with_a_reason(content: bytes, start: bytes) -> None:
    _is_an_image_or_a_reason(start + content)
