"""Plans: every box lies inside the picture, every size is sane, whatever is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.pipelines import Failure
from safelight_processor.pipelines.transform.geometry import MAX_OUTPUT_PIXELS, draft, plan
from safelight_processor.pipelines.transform.params import Box, Derivative

PICTURE = (400, 300)


@pytest.mark.parametrize(
    ("wanted", "box", "size"),
    [
        (Derivative(), (0, 0, 400, 300), (400, 300)),
        (Derivative(width=200), (0, 0, 400, 300), (200, 150)),
        (Derivative(height=100), (0, 0, 400, 300), (133, 100)),
        (Derivative(width=200, height=200), (0, 0, 400, 300), (200, 150)),
        (Derivative(width=200, height=200, fit="cover"), (50, 0, 350, 300), (200, 200)),
        (Derivative(width=200, height=50, fit="cover"), (0, 100, 400, 200), (200, 50)),
        (Derivative(width=200, height=200, fit="stretch"), (0, 0, 400, 300), (200, 200)),
        (Derivative(height=100, fit="stretch"), (0, 0, 400, 300), (400, 100)),
        (Derivative(width=100, fit="cover"), (0, 0, 400, 300), (100, 75)),
        # Nothing is enlarged unasked.
        (Derivative(width=800), (0, 0, 400, 300), (400, 300)),
        (Derivative(width=800, enlarge=True), (0, 0, 400, 300), (800, 600)),
        (Derivative(width=600, height=600, fit="cover"), (50, 0, 350, 300), (300, 300)),
        (Derivative(width=600, height=100, fit="stretch"), (0, 0, 400, 300), (400, 100)),
        # Crops are clamped.
        (Derivative(crop=Box(x=10, y=20, width=100, height=50)), (10, 20, 110, 70), (100, 50)),
        (Derivative(crop=Box(x=390, y=290, width=999, height=999)), (390, 290, 400, 300), (10, 10)),
        # Turned on its side, width and height are those of the result.
        (Derivative(width=150, rotate=90), (0, 0, 400, 300), (200, 150)),
        (Derivative(width=100, height=200, fit="cover", rotate=270), (0, 50, 400, 250), (200, 100)),
    ],
)
def test_a_plan(wanted, box, size):
    made = plan(PICTURE, wanted)
    assert made.box == pytest.approx(box)
    assert made.size == size


def test_a_crop_outside_the_picture_is_refused():
    with pytest.raises(Failure, match="params_invalid"):
        plan(PICTURE, Derivative(crop=Box(x=400, y=0, width=1, height=1)))


def test_an_output_of_too_many_pixels_is_refused():
    with pytest.raises(Failure, match="params_invalid"):
        plan(PICTURE, Derivative(width=16_383, enlarge=True))


sides = st.integers(1, 16_383)
boxes = st.builds(
    Box,
    x=st.integers(0, 100_000),
    y=st.integers(0, 100_000),
    width=st.integers(1, 100_000),
    height=st.integers(1, 100_000),
)
derivatives = st.builds(
    Derivative,
    width=st.none() | sides,
    height=st.none() | sides,
    fit=st.sampled_from(["contain", "cover", "stretch"]),
    enlarge=st.booleans(),
    crop=st.none() | boxes,
    rotate=st.sampled_from([0, 90, 180, 270]),
)


@given(st.tuples(st.integers(1, 30_000), st.integers(1, 30_000)), derivatives, st.sampled_from([1, 2, 4, 8]))
def test_every_plan_stays_inside_the_picture(size, wanted, reduced):
    try:
        made = plan(size, wanted)
    except Failure:  # the only other way out
        return
    decoded = (-(-size[0] // reduced), -(-size[1] // reduced))
    for whole, (left, top, right, bottom) in ((size, made.box), (decoded, made.scaled(size, decoded).box)):
        assert 0 <= left < right <= whole[0]
        assert 0 <= top < bottom <= whole[1]
    assert min(made.size) >= 1
    assert made.size[0] * made.size[1] <= MAX_OUTPUT_PIXELS
    if not wanted.enlarge:
        assert made.size[0] <= size[0]
        assert made.size[1] <= size[1]
    assert min(draft(size, [made])) >= 1
