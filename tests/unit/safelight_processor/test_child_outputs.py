"""What a child brings back is looked at again before it is believed."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import Failure
from safelight_processor.child.outputs import check, open_output
from safelight_processor.child.protocol import Finished, Limits, OutputFile, Task

PNG = b"\x89PNG\r\n\x1a\n and so on"
HEADS = {
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/png": PNG,
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\0\0\0\0WEBPVP8 ",
    "image/tiff": b"II*\0",
    "image/bmp": b"BM",
}


def task(workdir: Path) -> Task:
    return Task("j", "p", b"{}", [], str(workdir), Limits(1, 1, 100, 1))


def output(
    path: Path, content: bytes = PNG, *, name: str = "a.png", media_type: str = "image/png", side: int = 1
) -> OutputFile:
    if not path.exists():
        path.write_bytes(content)
    return OutputFile(name, str(path), media_type, side, side)


def refusal(workdir: Path, *outputs: OutputFile, result: bytes | None = None) -> str:
    with pytest.raises(Failure) as caught:
        check(Finished(list(outputs), result), task(workdir))
    assert caught.value.code == "output_invalid"
    assert str(workdir) not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("media_type", HEADS)
def test_an_image_that_starts_like_one_passes(tmp_path: Path, media_type: str) -> None:
    good = Finished([output(tmp_path / "out", HEADS[media_type], media_type=media_type)], None)
    assert check(good, task(tmp_path)) == good


@pytest.mark.parametrize("media_type", HEADS)
def test_an_image_that_starts_like_something_else_is_refused(tmp_path: Path, media_type: str) -> None:
    bad = output(tmp_path / "out", b"<script>alert(1)</script>", media_type=media_type)
    assert "is no image/" in refusal(tmp_path, bad)


def test_data_and_files_in_folders_of_the_workdir_pass(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    good = [
        output(tmp_path / "a", b"{}", name="a.json", media_type="application/json", side=0),
        output(tmp_path / "deep" / "b", b"", name="b.txt", media_type="text/plain", side=0),
    ]
    assert check(Finished(good, None), task(tmp_path)).outputs == good


def test_a_workdir_that_is_reached_through_a_link_is_the_workdir(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    good = output(tmp_path / "real" / "out")
    assert check(Finished([good]), task(tmp_path / "link")).outputs == [good]


@pytest.mark.parametrize("media_type", ["text/html", "image/svg+xml", "application/javascript", ""])
def test_a_type_that_a_browser_would_run_is_refused(tmp_path: Path, media_type: str) -> None:
    refusal(tmp_path, output(tmp_path / "out", media_type=media_type))


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b.png", "../a.png", "a b", "ä.png", "a\n"])
def test_a_name_that_is_no_plain_file_name_is_refused(tmp_path: Path, name: str) -> None:
    refusal(tmp_path, output(tmp_path / "out", name=name))


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    refusal(tmp_path, output(tmp_path / "a"), output(tmp_path / "b"))


def test_a_file_over_its_limit_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path, output(tmp_path / "a", PNG.ljust(101)))
    assert check(Finished([output(tmp_path / "b", PNG.ljust(100))]), task(tmp_path)).outputs


@pytest.mark.parametrize("side", [0, 65_536])
def test_an_image_of_impossible_size_is_refused(tmp_path: Path, side: int) -> None:
    refusal(tmp_path, output(tmp_path / "out", side=side))


def test_paths_out_of_the_workdir_are_refused(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    workdir.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(PNG)
    (workdir / "link").symlink_to(secret)
    (workdir / "dangling").symlink_to(workdir / "nothing")
    (workdir / "folder").symlink_to(tmp_path)
    os.mkfifo(workdir / "pipe")
    for path in (
        secret,
        workdir / ".." / "secret",
        workdir / "link",
        workdir / "dangling",
        workdir / "folder" / "secret",
        workdir / "pipe",
        workdir / "missing",
        workdir,
        workdir / "..",
        Path("/dev/zero"),
        Path("relative"),
    ):
        refusal(workdir, OutputFile("a.png", str(path), "image/png", 1, 1))


def test_an_output_that_became_a_link_after_the_check_is_not_opened(tmp_path: Path) -> None:
    good = output(tmp_path / "out")
    with open_output(good) as file:
        assert file.read() == PNG
    Path(good.path).unlink()
    Path(good.path).symlink_to("/etc/passwd")
    with pytest.raises(Failure):
        open_output(good)


@pytest.mark.parametrize(
    "result",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"null",
        b'{"a": NaN}',
        b'{"a": "\\u0000"}',
        b'{"a\\u0000": 1}',
        b'{"a": "\\\\\\u0000"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' * 5000,
        b'{"a": "\xff"}',
    ],
)
def test_a_result_that_postgres_would_not_take_is_refused(tmp_path: Path, result: bytes) -> None:
    refusal(tmp_path, result=result)


def test_the_text_of_an_escape_is_no_nul(tmp_path: Path) -> None:
    written = msgspec.json.encode({"a": "\\u0000", "b": "\\\\u0000"})
    assert check(Finished([], written), task(tmp_path)).result == written


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=9), st.integers(-9, 9), st.none())))
def test_a_result_is_refused_for_its_nuls_and_for_nothing_else(result: dict[str, object]) -> None:
    has_nul = any("\0" in text for pair in result.items() for text in pair if isinstance(text, str))
    raw = msgspec.json.encode(result)
    try:
        written = check(Finished([], raw), task(Path("/nowhere"))).result
    except Failure:
        assert has_nul
    else:
        assert not has_nul
        assert msgspec.json.decode(written or b"") == result


def test_the_parent_loads_no_image_library() -> None:
    code = (
        "import sys, safelight_processor.children; sys.exit(bool({'PIL', 'cv2', 'numpy'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
