"""Arrays through JSON and back."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gridloop.simulators.wire import to_array, to_lists


@given(arrays(st.sampled_from([np.float64, np.complex128]), st.integers(1, 5)))
def test_every_array_survives_to_the_bit(values: Any) -> None:
    found = to_array(json.loads(json.dumps(to_lists(values))))
    assert found.dtype == values.dtype
    # any NaN is as good as another
    assert np.where(np.isnan(found), 0, found).tobytes() == np.where(np.isnan(values), 0, values).tobytes()


def test_negative_zero_and_the_infinite_survive() -> None:
    values = np.array([complex(-0.0, np.inf), complex(0.0, -0.0)])
    assert to_array(json.loads(json.dumps(to_lists(values)))).tobytes() == values.tobytes()


@pytest.mark.parametrize("value", [3, 2.5, "text", None, [[1.0, 2.0]]])
def test_what_is_no_array_passes(value: Any) -> None:
    assert to_lists(value) is value


def test_an_array_passes_as_it_is() -> None:
    values = np.array([1 + 2j])
    assert to_array(values) is values
    assert to_array([]).shape == (0,)
