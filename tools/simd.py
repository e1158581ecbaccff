"""pillow-simd in the place of Pillow: the same library, several times faster at resampling.

Called by tools/boot.py. It is published as source only, so one wheel is built per machine, into
`.wheels/`, with the instructions that this processor has; where that cannot be, stock Pillow stays.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

HEADERS = ("Python.h", "jpeglib.h", "zlib.h", "webp/decode.h", "tiffio.h", "lcms2.h", "ft2build.h")
PACKAGES = (
    "build-essential libjpeg62-turbo-dev zlib1g-dev libwebp-dev libtiff-dev liblcms2-dev libfreetype-dev "
    "libopenjp2-7-dev python3-dev"
)
# Missing headers make no error while it is built, only a library that cannot read those images.
FEATURES = ("jpg", "zlib", "webp", "libtiff", "littlecms2", "freetype2")


class BuildError(Exception):
    """Why there is no pillow-simd, in one sentence."""


def wheel(
    mode: str, folder: Path, build: Callable[[Path, str], None], say: Callable[[str], None]
) -> Path | None:
    """The wheel for this machine, built when it is not there yet; None where stock Pillow is to stay.

    Raises:
        BuildError: `mode` is `simd` and it cannot be built.
    """
    if mode == "stock":
        return None
    try:
        compiler, level = _compiler()
        return _find_or_build(folder, compiler, level, build, say)
    except Exception as error:
        if mode == "simd":
            raise BuildError(str(error)) from None
        say(f"{error} Stock Pillow is used, which is slower.")
        return None


def instead_of_pillow(lock: str, wheel: Path) -> str:
    """The text of the lock, with the wheel and its hash where Pillow was."""
    checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
    ours = f"pillow-simd @ {wheel.resolve().as_uri()} \\\n    --hash=sha256:{checksum}\n"
    changed, count = re.subn(r"(?m)^pillow==(?:.*\\\n)*.*\n", lambda _: ours, lock)
    if count != 1:
        raise BuildError("The lock does not name Pillow once.")
    return changed


def missing_features(python: Path) -> list[str]:
    """What the installed Pillow cannot do and should."""
    code = f"from PIL import features; print(*[f for f in {FEATURES!r} if not features.check(f)])"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True)  # noqa: S603
    return found.stdout.split() if found.returncode == 0 else list(FEATURES)


def _compiler() -> tuple[str, str]:
    if platform.machine() not in ("x86_64", "amd64"):
        raise BuildError("pillow-simd is for x86-64 only.")
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        raise BuildError(f"pillow-simd needs a C compiler (Debian: apt-get install {PACKAGES}).")
    lacking = [header for header in HEADERS if not _compiles(compiler, header)]
    if lacking:
        needed = f"pillow-simd needs {', '.join(lacking)} (Debian: apt-get install {PACKAGES})."
        raise BuildError(needed)
    # In CC, as CFLAGS in the environment would replace the optimisation flags.
    return (f"{compiler} -mavx2", "avx2") if _has_avx2() else (compiler, "sse4")


def _compiles(compiler: str, header: str) -> bool:
    code = f"#include <stdio.h>\n#include <{header}>\n"
    include = ["-I", sysconfig.get_paths()["include"], "-I", "/usr/include/freetype2"]
    command = [*compiler.split(), "-E", "-x", "c", *include, "-"]
    return subprocess.run(command, input=code.encode(), capture_output=True).returncode == 0  # noqa: S603


def _has_avx2() -> bool:
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def _find_or_build(
    folder: Path, compiler: str, level: str, build: Callable[[Path, str], None], say: Callable[[str], None]
) -> Path:
    # One folder per processor level and version: a wheel with AVX2 ends an older processor's process.
    lock = (Path(__file__).parent.parent / "requirements" / "simd.txt").read_bytes()
    kept = folder / f"{level}-{sysconfig.get_config_var('SOABI')}-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not kept.exists():
        say(f"building pillow-simd ({level}) for this machine: 30 to 90 s, once.")
        fresh = kept.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        build(fresh, compiler)
        fresh.rename(kept)
    return next(kept.glob("pillow_simd-*.whl"))
