"""The demo's own tools: the scores, the sheet, and damage that can be made again."""

import io

import numpy as np
import PIL.Image
import pytest

from support import images


def test_psnr_of_a_known_difference(score):
    a = PIL.Image.new("RGB", (20, 20), (100, 100, 100))
    b = PIL.Image.new("RGB", (20, 20), (110, 110, 110))
    assert score.psnr(a, b) == pytest.approx(20 * np.log10(255 / 10))
    assert score.psnr(a, a) == float("inf")


def test_ssim_is_one_for_the_same_and_falls_with_noise_and_blur(score):
    picture = images.photo(120, 90)
    assert score.ssim(picture, picture) == pytest.approx(1)
    rough = np.asarray(picture, float) + np.random.default_rng(0).normal(0, 20, (90, 120, 3))
    noisy = PIL.Image.fromarray(np.clip(rough, 0, 255).astype(np.uint8))
    soft = picture.resize((30, 22)).resize((120, 90))
    assert 0 < score.ssim(picture, noisy) < 0.9
    assert 0 < score.ssim(picture, soft) < 0.99


def test_ssim_of_flat_pictures_is_the_formulas_own_value(score):
    a, b = (PIL.Image.new("L", (30, 30), value) for value in (100, 150))
    c1 = (0.01 * 255) ** 2
    assert score.ssim(a, b) == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))


def test_the_sheet_shows_three_pictures_and_their_scores(score, tmp_path):
    picture = images.photo(200, 150)
    score.before_after(
        picture, picture.resize((200, 150)), picture.resize((400, 300)), tmp_path / "sheet.png"
    )
    sheet = PIL.Image.open(tmp_path / "sheet.png")
    assert sheet.format == "PNG"
    assert sheet.width > 3 * 200
    assert sheet.height > 150


def test_the_same_seed_gives_the_same_damage_and_another_one_other_damage(damage):
    picture = images.photo(160, 120)
    first, again, other = (np.asarray(damage(picture, seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_committed_photograph_is_what_the_recipe_makes(damage, original, attic, score):
    committed = PIL.Image.open(io.BytesIO(attic))
    assert score.psnr(damage(original), committed) > 34  # but for the JPEG's own loss
    assert committed.size == original.size == (1024, 768)
    assert len(attic) < 400_000
