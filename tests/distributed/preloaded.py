"""What the server of ranks imports once: the checked shapes first, then what a fit needs."""

from shapes import check_shapes

check_shapes()

import gc  # noqa: E402

import pytest  # noqa: E402, F401

import roots.data  # noqa: E402
import roots.fit  # noqa: E402
import roots.modules  # noqa: E402, F401

gc.collect()
gc.freeze()  # no rank looks through what was imported, again and again
