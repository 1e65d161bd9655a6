"""Label files read many at once: the same objects, bit for bit, as line by line; what is odd is left to that."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.data.formats.yolo_block import parse_block
from hubel.data.formats.yolo_rows import Rows

PARTS_OF_LINES = ["0", "3", "-1", "7.0", "0.5", ".25", "1e-2", "nan", "1_0", "1-2", "x", "\n", "\r\n", "\r", " ", "\t",
    "0 .5 .5 .1 .2\n", "1 0 0 1 0 1 1\n", "2 .1 .2 .3 .4 .5 .6 2\n", "0 0.50000000000000000000000001 .5 1 1\n",
    "1 .5 .5 1 1 .1 .1 .2 .2\n", "99999999999999999999 .5 .5 1 1\n", "é", "+1", "1e999", "\ufeff"]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PARTS_OF_LINES), max_size=6).map("".join), max_size=5),
       st.sampled_from([(0, 3), (1, 3), (2, 2)]))  # fmt: skip
def test_many_files_at_once_are_read_as_one_by_one(texts, shape):
    quick, slow = Rows(*shape), Rows(*shape)
    contents, images = [text.encode() for text in texts], [2 * k for k in range(len(texts))]
    faults = [slow.parse(i, data) for i, data in zip(images, contents, strict=True)]
    if parse_block(quick, images, contents):
        assert not any(faults)
        assert repr(quick) == repr(slow)  # NaN and NaN are the same
    else:
        assert repr(quick) == repr(Rows(*shape))  # nothing was added


def test_plain_files_are_read_at_once():
    rng = np.random.default_rng(0)
    texts = [
        "".join(f"{k} {' '.join(map(repr, rng.random(n).tolist()))}\r\n" for n in (4, 8, 4, 6)) for k in range(300)
    ]
    quick, slow = Rows(), Rows()
    assert parse_block(quick, range(300), [b"\xef\xbb\xbf" + text.encode() for text in texts])
    assert not any(slow.parse(i, text.encode()) for i, text in enumerate(texts)) and repr(quick) == repr(slow)
