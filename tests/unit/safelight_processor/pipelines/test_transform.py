"""`transform`: every parameter, every kind of input."""

import io

import jsonschema
import numpy as np
import PIL.Image
import pytest

from safelight.pipelines import Failure
from safelight_processor.pipelines.transform import transform
from support import images

# Four colored quarters tell how a picture was turned and cut.
RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 180, 30), (30, 30, 220), (250, 250, 250)


def quarters(size: tuple[int, int] = (80, 60), kind: str = "PNG", **options) -> bytes:
    picture = PIL.Image.new("RGB", size)
    w, h = size[0] // 2, size[1] // 2
    for color, place in ((RED, (0, 0)), (GREEN, (w, 0)), (BLUE, (0, h)), (WHITE, (w, h))):
        picture.paste(color, (*place, place[0] + w, place[1] + h))
    return images.encoded(picture, kind, **options)


def corners(picture: PIL.Image.Image) -> list[tuple[int, ...]]:
    """The colors near the four corners, row by row, each as the nearest of the four."""
    known = np.array([RED, GREEN, BLUE, WHITE])
    pixels = np.asarray(picture.convert("RGB"), int)
    h, w = pixels.shape[:2]
    spots = [pixels[y, x] for y in (h // 5, h - 1 - h // 5) for x in (w // 5, w - 1 - w // 5)]
    return [tuple(map(int, known[np.abs(known - spot).sum(axis=1).argmin()])) for spot in spots]


def test_no_params_make_one_jpeg_of_the_same_size(call):
    ran = call(transform, images.jpeg(64, 48))
    assert ran.result == {
        "input": {"width": 64, "height": 48, "format": "jpeg", "frames": 1},
        "frame": 1,
        "outputs": [
            {
                "name": "output.jpg",
                "width": 64,
                "height": 48,
                "format": "jpeg",
                "bytes": ran.outputs[0].path.stat().st_size,
            }
        ],
    }
    assert ran.picture().format == "JPEG"


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif"])
def test_every_format_can_be_written(kind, call):
    ran = call(transform, images.jpeg(64, 48), {"format": kind, "width": 32})
    assert ran.picture().format == kind.upper()
    assert ran.picture().size == (32, 24)
    assert ran.outputs[0].name == f"output.{'jpg' if kind == 'jpeg' else kind}"


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_quality_makes_the_difference(kind, call):
    sizes = [
        call(transform, images.jpeg(320, 240), {"format": kind, "quality": quality}).result["outputs"][0][
            "bytes"
        ]
        for quality in (10, 95)
    ]
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [RED, GREEN, BLUE, WHITE]),
        ({"rotate": 90}, [BLUE, RED, WHITE, GREEN]),
        ({"rotate": 180}, [WHITE, BLUE, GREEN, RED]),
        ({"rotate": 270}, [GREEN, WHITE, RED, BLUE]),
        ({"flip": "horizontal"}, [GREEN, RED, WHITE, BLUE]),
        ({"flip": "vertical"}, [BLUE, WHITE, RED, GREEN]),
        ({"flip": "both"}, [WHITE, BLUE, GREEN, RED]),
        ({"rotate": 90, "flip": "horizontal"}, [RED, BLUE, GREEN, WHITE]),
        ({"crop": {"x": 0, "y": 0, "width": 40, "height": 30}}, [RED] * 4),
        ({"crop": {"x": 40, "y": 30, "width": 400, "height": 300}}, [WHITE] * 4),
        ({"crop": {"x": 40, "y": 0, "width": 40, "height": 60}, "rotate": 90}, [WHITE, GREEN, WHITE, GREEN]),
        ({"width": 20, "height": 20, "fit": "cover"}, [RED, GREEN, BLUE, WHITE]),
    ],
)
@pytest.mark.parametrize("size", [{}, {"width": 24}])
def test_parts_of_the_picture_land_where_they_belong(params, size, expected, call):
    assert corners(call(transform, quarters(), {**size, **params, "format": "png"}).picture()) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_before_anything_else(orientation, call):
    """Stored in any orientation, the result is the same."""
    stored = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]
    picture = PIL.Image.open(io.BytesIO(quarters()))
    for turn in stored:
        picture = picture.transpose(PIL.Image.Transpose(turn))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = images.encoded(picture, "JPEG", exif=exif, quality=95)
    ran = call(transform, data, {"width": 40, "crop": {"x": 0, "y": 0, "width": 80, "height": 60}})
    assert ran.picture().size == (40, 30)
    assert corners(ran.picture()) == [RED, GREEN, BLUE, WHITE]


def test_several_outputs_come_from_one_decoding(call):
    ran = call(
        transform,
        images.jpeg(1200, 900),
        {
            "outputs": [
                {"width": 300},
                {"width": 64, "height": 64, "fit": "cover", "format": "webp"},
                {"name": "mine.png", "width": 10, "format": "png"},
            ]
        },
    )
    assert [(o.name, o.width, o.height) for o in ran.outputs] == [
        ("output.jpg", 300, 225),
        ("output-2.webp", 64, 64),
        ("mine.png", 10, 8),
    ]
    progress = [report.progress for report in ran.reports]
    assert progress == sorted(progress)
    assert ran.reports[0].stage == "decode"
    assert (ran.reports[-1].stage, progress[-1]) == ("derive", 100.0)
    assert "output 3 of 3" in [report.status for report in ran.reports]


def test_a_draft_looks_like_the_full_decoding(call, score):
    data = images.jpeg(1600, 1200)
    fast = call(transform, data, {"width": 256, "quality": 95}).picture()
    full = PIL.Image.open(io.BytesIO(data)).resize((256, 192), PIL.Image.Resampling.LANCZOS)
    assert score.psnr(full, fast) > 33


@pytest.mark.parametrize(
    "data",
    [
        images.jpeg(160, 120),
        images.png(160, 120, 0, "I;16"),
        images.png(160, 120, 0, "L"),
        images.png(160, 120, 0, "P"),
        images.tiff(160, 120, 0, "CMYK"),
        images.webp(160, 120),
        images.bmp(160, 120),
    ],
    ids=["jpeg", "16 bit", "gray", "palette", "cmyk", "webp", "bmp"],
)
def test_every_kind_of_input_keeps_its_look(data, call, score):
    made = call(transform, data, {"width": 80, "format": "png"}).picture()
    golden = images.photo(160, 120).resize((80, 60), PIL.Image.Resampling.LANCZOS)
    assert score.psnr(golden.convert("L"), made.convert("L")) > 30


def test_16_bits_become_8_by_scaling_and_not_by_cutting(call):
    made = call(transform, images.png(64, 48, 0, "I;16"), {"format": "png"}).pixels()
    assert np.array_equal(made, np.asarray(images.photo(64, 48).convert("L")))


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (10_000, 50), (1, 3000)])
@pytest.mark.parametrize("kind", ["jpeg", "webp", "gif"])
def test_tiny_and_panoramic_pictures_go_through(size, kind, call):
    made = call(transform, images.jpeg(*size), {"width": 100, "height": 100, "format": kind}).picture()
    assert max(made.size) <= 100
    assert min(made.size) >= 1


def test_transparency_is_kept_where_the_format_can(call):
    for kind in ("png", "webp"):
        made = call(transform, images.png(64, 48, 0, "RGBA"), {"format": kind, "width": 32}).picture()
        assert made.mode == "RGBA"
        assert np.asarray(made)[12, 16, 3] < 40


@pytest.mark.parametrize(
    ("params", "color"),
    [
        ({}, (255, 255, 255)),
        ({"background": "#ff8000"}, (255, 128, 0)),
        ({"background": "#ff8000", "format": "png"}, (255, 128, 0)),
    ],
)
def test_a_background_shows_where_the_picture_does_not(params, color, call):
    clear = images.encoded(PIL.Image.new("RGBA", (20, 20), (0, 0, 0, 0)), "PNG")
    made = call(transform, clear, {**params, "quality": 100}).picture()
    assert made.mode == "RGB"
    assert np.abs(np.asarray(made, int)[10, 10] - color).max() <= 3


def secret() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x010E] = "a secret place"
    exif[0x0112] = 6
    return images.encoded(images.photo(64, 48), "JPEG", exif=exif, icc_profile=b"x" * 128, comment=b"secret")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif"])
def test_metadata_is_stripped_by_default(kind, call):
    data = call(transform, secret(), {"format": kind}).outputs[0].path.read_bytes()
    assert b"secret" not in data
    assert b"xxxx" not in data


def test_metadata_is_kept_when_asked_for_and_does_not_turn_the_picture_twice(call):
    made = call(transform, secret(), {"keep": ["icc", "exif"]}).picture()
    assert made.size == (48, 64)
    assert made.getexif()[0x010E] == "a secret place"
    assert made.getexif()[0x0112] == 1
    assert made.info["icc_profile"] == b"x" * 128


@pytest.mark.parametrize(
    "position",
    ["top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"],
)
def test_a_watermark_lies_where_it_was_put(position, call):
    gray = images.encoded(PIL.Image.new("RGB", (300, 200), (90, 90, 90)), "PNG")
    mark = {"text": "Safelight", "position": position, "opacity": 1, "size": 0.25, "color": "#ffff00"}
    made = call(transform, gray, {"format": "png", "watermark": mark}).pixels().astype(int)
    ys, xs = np.nonzero(np.abs(made - 90).sum(axis=2) > 60)
    assert 60 <= np.ptp(xs) <= 76  # a quarter of the width
    x = 0 if "left" in position else 2 if "right" in position else 1
    y = 0 if "top" in position else 2 if "bottom" in position else 1
    assert int(xs.mean() // 100) == x
    assert int(ys.mean() // (200 / 3)) == y
    assert made[ys, xs, :2].max() == 255
    assert made[ys, xs, 2].min() == 0


def test_the_opacity_of_a_watermark(call):
    gray = images.encoded(PIL.Image.new("RGB", (300, 200), (100, 100, 100)), "PNG")
    brightest = [
        call(transform, gray, {"format": "png", "watermark": {"text": "HHH", "opacity": opacity, "size": 1}})
        .pixels()
        .max()
        for opacity in (0, 0.5, 1)
    ]
    assert brightest[0] == 100
    assert 170 <= brightest[1] <= 180
    assert brightest[2] == 255


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (2000, 5)])
@pytest.mark.parametrize("text", ["A", " ", "long " * 40, "日本 é 🦝"])
def test_any_watermark_fits_on_any_picture(size, text, call):
    ran = call(transform, images.png(*size), {"format": "png", "watermark": {"text": text, "size": 1}})
    assert ran.picture().size == size


def test_a_watermark_keeps_what_is_transparent(call):
    made = call(
        transform, images.png(64, 48, 0, "RGBA"), {"format": "png", "watermark": {"text": "x"}}
    ).picture()
    assert made.mode == "RGBA"


def test_of_an_animation_the_first_frame_is_taken_and_the_result_says_so(call):
    ran = call(transform, images.gif(40, 30, 5, frames=4), {"format": "gif"})
    assert (ran.result["input"]["frames"], ran.result["frame"]) == (4, 1)
    assert getattr(ran.picture(), "n_frames", 1) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"width": 0},
        {"width": 16_384},
        {"height": 1.5},
        {"fit": "fill"},
        {"rotate": 45},
        {"flip": "diagonal"},
        {"format": "tiff"},
        {"quality": 0},
        {"quality": 101},
        {"keep": ["gps"]},
        {"background": "red"},
        {"crop": {"x": -1, "y": 0, "width": 1, "height": 1}},
        {"crop": {"x": 64, "y": 0, "width": 1, "height": 1}},
        {"watermark": {"text": ""}},
        {"watermark": {"text": "a\nb"}},
        {"watermark": {"text": "a", "opacity": 2}},
        {"watermark": {"text": "a", "size": 0}},
        {"background": "#ff8000\n"},
        {"watermark": {"text": "a\n"}},
        {"name": "../x.jpg"},
        {"name": "x.jpg\n"},
        {"name": "x.html"},
        {"name": "x.exe"},
        {"name": "x.jpg.html"},
        {"outputs": [{}] * 17},
        {"outputs": [{"name": "a.jpg"}, {"name": "a.jpg"}]},
        {"outputs": [{"name": "output-2.jpg"}, {}]},
        {"outputs": [{}, {"name": "output.jpg"}]},
        {"outputs": [{}], "width": 10},
        {"outputs": [{"outputs": []}]},
        {"width": 16_000, "height": 16_000, "fit": "stretch", "enlarge": True},
    ],
    ids=str,
)
def test_params_that_cannot_be_are_refused(params, call):
    with pytest.raises(Failure, match="params_invalid"):
        call(transform, images.jpeg(64, 48), params)


def test_a_damaged_picture_fails_with_its_code(call):
    for data, code in (
        (images.truncated_jpeg(), "image_damaged"),
        (images.gif_header_65535(), "image_too_many_pixels"),
    ):
        with pytest.raises(Failure, match=code):
            call(transform, data)


def test_the_schema_is_valid_and_describes_the_defaults():
    schema = transform.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"outputs": [{"width": 10, "watermark": {"text": "x"}}]})
    assert not validator.is_valid({"width": 0})
    assert not validator.is_valid({"outputs": [{"size": 3}]})


@pytest.mark.parametrize("name", ["x", "x.jpg", "X.JPEG", "x.png", "x.webp", "x.gif"])
def test_the_schema_takes_names_of_images(name):
    assert jsonschema.Draft202012Validator(transform.schema()).is_valid({"name": name})


@pytest.mark.parametrize(
    "params",
    [
        {"name": "x.html"},
        {"name": "x.exe"},
        {"name": "x.jpg\n"},
        {"background": "#ff8000\n"},
        {"watermark": {"text": "a\n"}},
    ],
    ids=str,
)
def test_the_schema_itself_refuses_what_is_no_name_color_or_line(params):
    assert not jsonschema.Draft202012Validator(transform.schema()).is_valid(params)
