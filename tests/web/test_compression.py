"""Pages are zipped so that they can be read again, and so that their size gives nothing away."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.edge.compression import MOST_PADDING, accepts_gzip, gzipped


@given(st.binary(max_size=5_000))
def test_what_was_zipped_is_read_again(content: bytes) -> None:
    assert gzip.decompress(gzipped(content)) == content


def test_the_same_page_is_of_another_size_each_time() -> None:
    sizes = {len(gzipped(b"the same page" * 200)) for _ in range(200)}

    assert len(sizes) > MOST_PADDING / 2


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("", False),
        ("br", False),
        ("gzip", True),
        ("br, GZIP", True),
        ("gzip;q=0.5, br", True),
        ("gzip;q=0, br", False),
        ("gzip; q=0.0", False),
        ("x-gzip-not", False),
    ],
)
def test_only_who_takes_gzip_gets_it(header: str, taken: bool) -> None:
    assert accepts_gzip(header) is taken
