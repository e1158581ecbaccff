"""`restore`: it helps where there is damage, and keeps its hands off where there is none."""

import io

import cv2
import jsonschema
import numpy as np
import PIL.Image
import PIL.ImageFilter
import pytest

from safelight.pipelines import Failure
from safelight_processor.pipelines.restore import STAGES, STEPS, restore
from safelight_processor.pipelines.restore.marks import find
from safelight_processor.pipelines.restore.noise import estimate, noise
from safelight_processor.pipelines.restore.sharpness import softness
from safelight_processor.pipelines.restore.step import lightness, relit
from support import images

NOTHING = {"scratches": 0, "noise": 0, "yellowing": 0, "contrast": 0, "sharpness": 0, "format": "png"}


def tell(fraction: float, sentence: str) -> None:
    assert 0 <= fraction <= 1.0001
    assert len(sentence) <= 200


def jpeg(picture: PIL.Image.Image) -> bytes:
    return images.encoded(picture, "JPEG", quality=92)


def small(picture: PIL.Image.Image, size: tuple[int, int] = (640, 480)) -> PIL.Image.Image:
    return picture.resize(size, PIL.Image.Resampling.LANCZOS)


# The whole


def test_the_demo_photograph_comes_clearly_nearer_to_its_original(call, attic, original, score):
    before = PIL.Image.open(io.BytesIO(attic))
    ran = call(restore, attic, {"format": "png"})
    after = ran.picture()
    assert score.psnr(original, after) > score.psnr(original, before) + 5
    assert score.ssim(original, after) > score.ssim(original, before) + 0.1
    assert [step["step"] for step in ran.result["steps"]] == ["orientation", *STEPS, "enlargement"]
    assert ran.step("scratches")["measured"]["scratches"] >= 5
    assert ran.step("scratches")["measured"]["specks"] >= 80
    assert ran.step("noise")["did"].startswith("removed noise")
    assert "yellow" in ran.step("yellowing")["did"]
    assert ran.step("contrast")["did"].startswith("stretched")


@pytest.mark.parametrize("seed", [3, 11])
def test_other_damage_on_other_pictures_is_restored_too(seed, call, damage, original, score):
    for picture in (small(original), small(original.crop((400, 200, 1024, 668)))):
        spoiled = damage(picture, seed)
        after = call(restore, jpeg(spoiled), {"format": "png"}).picture()
        assert score.psnr(picture, after) > score.psnr(picture, spoiled) + 3
        assert score.ssim(picture, after) > score.ssim(picture, spoiled) + 0.05


def test_a_gray_print_is_restored_in_gray(call, damage, original, score):
    picture = small(original).convert("L")
    spoiled = damage(picture.convert("RGB"), 5).convert("L")
    ran = call(restore, jpeg(spoiled), {"format": "png"})
    assert ran.picture().mode == "L"
    assert ran.step("yellowing")["did"] == "skipped: no color"
    assert score.psnr(picture, ran.picture()) > score.psnr(picture, spoiled) + 1


@pytest.mark.parametrize("seed", [None, 0, 1, 2, 3])
def test_a_clean_picture_is_left_as_it_is(seed, call, original, score):
    clean = original if seed is None else images.photo(640, 480, seed)
    data = images.encoded(clean, "PNG")
    ran = call(restore, data, {"format": "png"})
    assert score.ssim(clean, ran.picture()) >= 0.98
    for step in ("scratches", "noise", "yellowing", "contrast"):
        assert ran.step(step)["did"] == "skipped: clean", ran.step(step)


def test_a_warm_scene_is_not_cooled(call):
    """An evening: red is bright, blue is weak, but black is black."""
    evening = np.asarray(images.photo(400, 300), float) * (1.1, 0.75, 0.45)
    evening[:40] = 0
    data = images.encoded(PIL.Image.fromarray(np.clip(evening, 0, 255).astype(np.uint8)), "PNG")
    ran = call(restore, data, {**NOTHING, "yellowing": 1})
    assert ran.step("yellowing")["did"] == "skipped: clean"
    assert np.array_equal(ran.pixels(), np.asarray(PIL.Image.open(io.BytesIO(data))))


def test_a_starry_night_keeps_its_stars(call):
    dice = np.random.default_rng(0)
    night = np.full((400, 600), 8, np.uint8)
    night[dice.integers(0, 400, 500), dice.integers(0, 600, 500)] = 250
    night = cv2.GaussianBlur(night, (0, 0), 0.8)
    ran = call(restore, images.encoded(PIL.Image.fromarray(night), "PNG"), {"format": "png"})
    assert ran.step("scratches")["did"] == "skipped: clean"


# Switches


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_is_switched_off_does_nothing(name, call, attic):
    ran = call(restore, attic, {**NOTHING})
    assert ran.step(name) == {
        "step": name,
        "measured": {},
        "did": "switched off",
        "seconds": ran.step(name)["seconds"],
    }
    assert np.array_equal(ran.pixels(), np.asarray(PIL.Image.open(io.BytesIO(attic))))


@pytest.mark.parametrize("name", ["noise", "yellowing", "contrast", "sharpness"])
def test_half_the_strength_does_less(name, call, attic):
    before = PIL.Image.open(io.BytesIO(attic))
    if name == "sharpness":
        before = before.filter(PIL.ImageFilter.GaussianBlur(2))
    data = images.encoded(before, "PNG")
    half, whole = (
        np.abs(call(restore, data, {**NOTHING, name: strength}).pixels() - np.asarray(before, float)).mean()
        for strength in (0.5, 1)
    )
    assert 0 < half < whole


def test_more_strength_finds_more_marks(attic):
    pixels = np.asarray(PIL.Image.open(io.BytesIO(attic)))
    weak, strong = (find(pixels, strength, tell) for strength in (0.3, 1.0))
    assert weak.speck_count < strong.speck_count
    assert weak.lines.sum() < strong.lines.sum()


@pytest.mark.parametrize(("scale", "size"), [(1, (64, 48)), (2, (128, 96))])
def test_the_scale(scale, size, call):
    ran = call(restore, images.png(64, 48, 0, "RGBA"), {"scale": scale, "format": "png"})
    assert ran.picture().size == size == (ran.result["width"], ran.result["height"])
    assert ran.picture().mode == "RGBA"


def test_a_picture_too_large_to_be_doubled_says_so(call):
    ran = call(restore, images.jpeg(10_000, 50), {**NOTHING, "scale": 2})
    assert ran.step("enlargement")["did"] == "skipped: too large"
    assert ran.picture().size == (10_000, 50)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_picture_is_turned_upright_unless_that_is_switched_off(orientation, call):
    data = images.jpeg(64, 48, orientation=orientation)
    turned = call(restore, data, {**NOTHING})
    assert turned.picture().size == ((48, 64) if orientation in (6, 8) else (64, 48))
    assert turned.step("orientation")["measured"] == {"exif": orientation}
    assert call(restore, data, {**NOTHING, "orientation": False}).picture().size == (64, 48)


@pytest.mark.parametrize(
    ("kind", "name"), [("jpeg", "restored.jpg"), ("png", "restored.png"), ("webp", "restored.webp")]
)
def test_the_format_and_its_quality(kind, name, call):
    sizes = []
    for quality in (20, 95):
        ran = call(restore, images.jpeg(320, 240), {"format": kind, "quality": quality})
        assert ran.outputs[0].name == name
        assert ran.picture().format == kind.upper()
        sizes.append(ran.outputs[0].path.stat().st_size)
    assert sizes[0] < sizes[1] or kind == "png"


# Inputs


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 7), (7, 3), (24, 24), (63, 64), (64, 64), (10_000, 50), (50, 3000)]
)
def test_tiny_and_panoramic_pictures_go_through(size, call):
    ran = call(restore, images.png(*size), {"scale": 2, "format": "png"})
    assert ran.picture().size in (size, (2 * size[0], 2 * size[1]))


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (images.png(100, 80, 0, "L"), "L"),
        (images.png(100, 80, 0, "P"), "RGB"),
        (images.png(100, 80, 0, "RGBA"), "RGBA"),
        (images.png(100, 80, 0, "I;16"), "L"),
        (images.tiff(100, 80, 0, "CMYK"), "RGB"),
        (images.gif(100, 80, 0, frames=3), "RGB"),
        (images.webp(100, 80), "RGB"),
        (images.bmp(100, 80), "RGB"),
    ],
    ids=["gray", "palette", "alpha", "16 bit", "cmyk", "gif", "webp", "bmp"],
)
def test_every_kind_of_input_goes_through(data, mode, call):
    ran = call(restore, data, {"format": "png"})
    assert ran.picture().mode == mode
    assert ran.picture().size == (100, 80)


@pytest.mark.parametrize("value", [0, 40, 128, 255])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_of_nothing_goes_through(value, mode, call):
    flat = PIL.Image.new("L", (200, 150), value).convert(mode)
    ran = call(restore, images.encoded(flat, "PNG"), {"format": "png"})
    assert np.abs(ran.pixels().astype(int) - value).max() <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_picture_of_noise_goes_through(seed, call):
    pixels = np.random.default_rng(seed).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert call(restore, images.encoded(PIL.Image.fromarray(pixels), "PNG")).picture().size == (160, 120)


def test_hostile_inputs_fail_with_their_codes(call):
    cases = (
        (images.truncated_jpeg(), "image_damaged"),
        (b"", "image_damaged"),
        (b"text", "image_damaged"),
        (images.bomb_png(12_000), "image_too_many_pixels"),
        (images.gif_header_65535(), "image_too_many_pixels"),
    )
    for data, code in cases:
        with pytest.raises(Failure, match=code):
            call(restore, data)


def test_an_error_of_opencv_is_a_failure_of_the_pipeline(call, monkeypatch):
    def broken(*_args):
        cv2.resize(np.zeros((0, 0), np.uint8), (1, 1))

    monkeypatch.setitem(STEPS, "noise", broken)
    with pytest.raises(Failure, match="pipeline_failed") as caught:
        call(restore, images.jpeg(64, 48))
    assert isinstance(caught.value.__cause__, cv2.error)


@pytest.mark.parametrize(
    "params",
    [
        {"noise": 1.1},
        {"noise": -0.1},
        {"scale": 3},
        {"format": "gif"},
        {"quality": 0},
        {"dust": 1},
        {"contrast": "much"},
    ],
    ids=str,
)
def test_params_that_cannot_be_are_refused(params, call):
    with pytest.raises(Failure, match="params_invalid"):
        call(restore, images.jpeg(64, 48), params)


def test_the_schema_is_valid_and_every_step_has_its_switch():
    schema = restore.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert STEPS.keys() <= schema["properties"].keys()
    assert jsonschema.Draft202012Validator(schema).is_valid({"noise": 0.5, "scale": 2})


# Progress


def test_progress_never_falls_and_moves_within_the_long_steps(call, attic):
    reports = call(restore, attic).reports
    numbers = [report.progress for report in reports]
    assert numbers == sorted(numbers)
    assert (numbers[0], numbers[-1]) == (0.0, 100.0)
    assert list(dict.fromkeys(report.stage for report in reports)) == [stage.name for stage in STAGES]
    assert sum(report.stage == "scratches" for report in reports) > 20
    assert sum(report.stage == "noise" for report in reports) >= 5
    assert any(report.status.startswith("filling") for report in reports)


# The measures


@pytest.mark.parametrize("sigma", [3.0, 6.0])
def test_the_noise_that_is_measured_is_about_the_noise_that_is_there(sigma):
    y, x = np.mgrid[0:300, 0:400]
    smooth = 120 + 60 * np.sin(x / 60) * np.cos(y / 50)
    noisy = np.clip(smooth + np.random.default_rng(1).normal(0, sigma, smooth.shape), 0, 255).astype(np.uint8)
    assert estimate(noisy) == pytest.approx(sigma, rel=0.25)


def test_noise_is_removed_and_edges_stay():
    clean = np.full((200, 200), 80, np.uint8)
    clean[:, 100:] = 180
    noisy = np.clip(clean + np.random.default_rng(2).normal(0, 8, clean.shape), 0, 255).astype(np.uint8)
    done = noise(noisy, 1.0, tell)
    assert (
        np.abs(done.pixels.astype(float) - clean).mean() < 0.45 * np.abs(noisy.astype(float) - clean).mean()
    )
    assert done.pixels[:, 104:].mean() - done.pixels[:, :96].mean() == pytest.approx(100, abs=2)


def test_a_blurred_picture_measures_softer():
    light = lightness(np.asarray(images.photo(400, 300)))
    soft = [softness(cv2.GaussianBlur(light, (0, 0), sigma) if sigma else light) for sigma in (0, 1, 2)]
    assert soft == sorted(soft)
    assert soft[2] > soft[0] + 0.1


def scratched() -> tuple[np.ndarray, np.ndarray]:
    """A faded picture with a scratch, dust, an edge and a dark cable in it, and a mask of the damage."""
    y, x = np.mgrid[0:500, 0:700]
    ground = np.stack(
        [110 + 40 * np.sin(x / 90), 100 + 40 * np.cos(y / 80), 80 + 20 * np.sin((x + y) / 70)], -1
    )
    ground[250:, :200] += 45
    pixels = cv2.GaussianBlur(np.clip(ground, 45, 215), (0, 0), 1.0)
    cv2.line(pixels, (500, 0), (560, 499), (50, 48, 46), 2, cv2.LINE_AA)
    pixels += np.random.default_rng(0).normal(0, 2, pixels.shape)
    truth = np.zeros((500, 700), np.uint8)
    cv2.line(truth, (300, 30), (340, 450), 255, 1, cv2.LINE_AA)
    dice = np.random.default_rng(4)
    for place in zip(dice.integers(20, 680, 60), dice.integers(20, 480, 60), strict=True):
        cv2.circle(truth, tuple(map(int, place)), 2, 255, -1, cv2.LINE_AA)
    cover = truth[:, :, None] / 255.0
    return np.clip(pixels * (1 - cover) + np.array([250, 244, 228]) * cover, 0, 255).astype(
        np.uint8
    ), truth > 120


def test_a_scratch_and_dust_are_found_and_an_edge_and_a_cable_are_not():
    pixels, truth = scratched()
    marks = find(pixels, 1.0, tell)
    found = marks.lines | marks.specks
    near = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert marks.worn
    assert marks.line_count == 1
    assert 45 <= marks.speck_count <= 66
    assert (cv2.dilate(found.astype(np.uint8), np.ones((3, 3), np.uint8))[truth] > 0).mean() > 0.9
    assert near[found].mean() > 0.9


def test_the_fillings_of_a_large_scan_change_nothing_but_the_marks(call):
    pixels, truth = scratched()
    large = cv2.resize(pixels, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC)
    near = cv2.dilate(cv2.resize(truth.astype(np.uint8), large.shape[1::-1]), np.ones((31, 31), np.uint8)) > 0
    ran = call(restore, images.encoded(PIL.Image.fromarray(large), "PNG"), {**NOTHING, "scratches": 1})
    changed = np.abs(ran.pixels().astype(int) - large).max(axis=2) > 0
    assert changed.sum() > 1000
    assert changed[~near].mean() < 0.002
    inside = cv2.resize(truth.astype(np.uint8), large.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    assert ran.pixels()[inside].mean() < large[inside].mean() - 60


def test_a_picture_relit_with_its_own_light_is_itself():
    pixels = np.asarray(images.photo(64, 48))
    assert np.abs(relit(pixels, lightness(pixels)).astype(int) - pixels).max() <= 2
