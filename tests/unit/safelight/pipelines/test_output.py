"""`run.output()`: names, formats, and what is not written along."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from safelight.pipelines import Failure, Run
from support import images


def code_of(run: Run, *args, **options) -> str:
    with pytest.raises(Failure) as caught:
        run.output(*args, **options)
    assert run.outputs == []
    return caught.value.code


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "../up.jpg",
        "a/b.jpg",
        "a\\b.jpg",
        "a b.jpg",
        "ä.jpg",
        "a\x00.jpg",
        "-x.jpg",
        "a..jpg",
        "a.jpg\n",
        "x" * 200,
        "con:1",
    ],
)
def test_a_name_that_is_no_plain_file_name_is_refused(name, run):
    assert code_of(run, name, b"x") == "output_invalid"


@pytest.mark.parametrize("name", ["data.bin", "small-2.tar.gz", "READ_ME.txt", "0", "page_001.png.json"])
def test_a_plain_file_name_is_accepted(name, run):
    assert run.output(name, b"{}").name == name


@pytest.mark.parametrize(
    ("name", "kind", "media_type"),
    [
        ("a.jpg", "JPEG", "image/jpeg"),
        ("a.jpeg", "JPEG", "image/jpeg"),
        ("a.png", "PNG", "image/png"),
        ("a.webp", "WEBP", "image/webp"),
        ("a.gif", "GIF", "image/gif"),
        ("a.tif", "TIFF", "image/tiff"),
        ("a.bmp", "BMP", "image/bmp"),
    ],
)
def test_the_format_is_what_the_name_ends_with(name, kind, media_type, run):
    output = run.output(name, images.photo(40, 30))
    assert (output.media_type, output.width, output.height) == (media_type, 40, 30)
    assert PIL.Image.open(output.path).format == kind
    assert output.path.parent == run.workdir
    assert run.outputs == [output]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif", "a.bmp"])
def test_every_mode_can_be_written_in_every_format(mode, name, run):
    picture = (
        images.in_mode(images.photo(20, 10), mode) if mode != "HSV" else images.photo(20, 10).convert("HSV")
    )
    assert PIL.Image.open(run.output(name, picture).path).size == (20, 10)


def test_a_format_that_is_not_written_is_refused(run):
    assert code_of(run, "a.pdf", images.photo(4, 4)) == "output_invalid"
    assert code_of(run, "a.jpg", images.photo(4, 4), format="EPS") == "output_invalid"
    assert code_of(run, "noending", images.photo(4, 4)) == "output_invalid"


def test_a_picture_that_is_too_long_for_its_format_is_refused(run):
    assert code_of(run, "a.webp", PIL.Image.new("L", (16_384, 1))) == "output_invalid"


def test_options_reach_the_encoder(run):
    rough = run.output("rough.jpg", images.photo(200, 200), quality=10).path.stat().st_size
    fine = run.output("fine.jpg", images.photo(200, 200), quality=95).path.stat().st_size
    assert rough < fine / 2


def with_metadata() -> PIL.Image.Image:
    buffer = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x010E] = "a secret place"
    profile = b"icc profile bytes " * 8
    images.photo(40, 30).save(buffer, "JPEG", exif=exif, icc_profile=profile, comment=b"a secret word")
    return PIL.Image.open(buffer)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif", "a.tif", "a.bmp"])
def test_no_metadata_is_written_unasked(name, run):
    picture = with_metadata()
    data = run.output(name, picture).path.read_bytes()
    assert b"secret" not in data
    assert b"icc profile" not in data
    assert picture.info["comment"] == b"a secret word"  # the author's own picture is left alone


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_what_is_asked_for_is_kept(name, run):
    kept = PIL.Image.open(run.output(name, with_metadata(), keep=["icc", "exif"]).path)
    assert kept.info["icc_profile"].startswith(b"icc profile")
    assert kept.getexif()[0x010E] == "a secret place"
    assert "comment" not in kept.info


def test_a_transparent_palette_stays_transparent(run):
    picture = PIL.Image.new("P", (4, 4))
    picture.info["transparency"] = 0
    for name in ("a.gif", "a.png", "a.webp"):
        assert np.asarray(PIL.Image.open(run.output(name, picture).path).convert("RGBA"))[0, 0, 3] == 0


def test_bytes_are_written_and_typed_by_their_name(run):
    output = run.output("data.json", b"{}")
    assert (output.media_type, output.path.read_bytes(), output.width) == ("application/json", b"{}", 0)
    assert run.output("page.html", b"<script>").media_type == "application/octet-stream"
    assert run.output("x.bin", b"1", media_type="application/x-thing").media_type == "application/x-thing"


def test_bytes_that_call_themselves_an_image_must_be_one(run):
    assert (run.output("a.png", images.png(9, 8)).width, run.outputs[0].height) == (9, 8)
    run.outputs.clear()
    assert code_of(run, "b.png", images.jpeg(9, 8)) == "output_invalid"


def test_a_file_inside_the_folder_of_the_run_is_taken_as_it_is(run):
    path = run.workdir / "made.txt"
    path.write_text("hello")
    assert run.output("hello.txt", path).path.read_text() == "hello"


def test_a_file_outside_the_folder_is_refused_also_through_a_link(run, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("secret")
    link = run.workdir / "link.txt"
    link.symlink_to(outside)
    for path in (outside, link, run.workdir / "missing.txt", run.workdir, Path("/etc/passwd")):
        assert code_of(run, "a.txt", path) == "output_invalid"


def test_names_are_unique_and_outputs_are_counted(run):
    for number in range(32):
        run.output(f"{number}.txt", b"x")
    for name in ("5.txt", "33.txt"):
        with pytest.raises(Failure, match="output_invalid"):
            run.output(name, b"x")
    assert len(run.outputs) == 32
