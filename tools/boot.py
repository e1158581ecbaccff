"""Makes `.venv` fit for work: `python3 tools/boot.py up|dev|bench|lock`.

Called by every target of the Makefile. It needs nothing but Python; everything else comes from the
package index that pip is configured for, locked with hashes in requirements/. What was done is
stamped, so that a second call returns at once. Next: the Makefile runs the command itself in `.venv`.

    up      what `make up` and `make demo` need          dev     that, and the tools of development
    bench   that, and the rivals of the benchmarks       lock    writes requirements/*.txt anew

SAFELIGHT_PILLOW says which Pillow: `simd` (built here, several times faster at resampling), `stock`, or
`auto`: simd where it can be built. See tools/simd.py.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  this file parses on Python 3.7, so that the sentence is seen
    sys.stderr.write(
        "Safelight needs Python 3.11 or newer; this is Python %d.%d. "  # noqa: UP031
        "Name a newer one with `make PYTHON=python3.12 ...`.\n" % sys.version_info[:2]
    )
    sys.exit(2)

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import simd  # beside this file

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = VENV / "boot"  # a second environment, as installing the lock removes all else from the first
PYTHON = VENV / "bin" / "python"
UV = TOOLS / "bin" / "uv"
STAMP = VENV / "boot.json"
LOCK = VENV / "boot.lock"
LOCKS = ROOT / "requirements"
# Each profile contains the ones before it, so a larger one that is installed serves a smaller one too.
PROFILES = ("up", "dev", "bench")
COMPILED = {
    "uv": ["uv.in"],
    "build": ["build.in"],
    "simd": ["simd.in", "--no-deps", "--no-binary", "pillow-simd"],
    "simd-build": ["simd-build.in"],
    "api": ["../pyproject.toml", "--extra", "api"],
    "processor": ["../pyproject.toml", "--extra", "processor"],
    **{name: ["../pyproject.toml", "build.in", "--extra", name] for name in PROFILES},
}


class BootError(Exception):
    """What went wrong, in one sentence."""


def main(arguments: list[str]) -> int:
    """Brings the environment to the profile; answers the exit code."""
    wanted = arguments[0] if len(arguments) == 1 else ""
    pillow = os.environ.get("SAFELIGHT_PILLOW", "auto")
    try:
        if wanted not in (*PROFILES, "lock"):
            raise BootError("usage: python3 tools/boot.py " + "|".join((*PROFILES, "lock")))
        if pillow not in ("auto", "simd", "stock"):
            raise BootError(f"SAFELIGHT_PILLOW is {pillow!r}: it should be auto, simd or stock.")
        if wanted != "lock" and is_stamped(wanted, pillow):
            return 0
        VENV.mkdir(exist_ok=True)
        with alone():
            if wanted == "lock":
                make_tools()
                write_locks()
            elif not is_stamped(wanted, pillow):  # nobody else did it while we waited
                install(wanted, pillow)
    except (BootError, simd.BuildError) as error:
        say(str(error))
        return 2
    except OSError as error:
        say(f"{error.filename or ROOT}: {error.strerror or error}.")
        return 2
    except KeyboardInterrupt:
        say("stopped; the next call goes on from here.")
        return 130
    return 0


def say(text: str) -> None:
    """A line for the person who waits. On stderr, as the command that follows owns stdout."""
    sys.stderr.write(f"boot: {text}\n")
    sys.stderr.flush()


# ---- what is there already


def digest(profile: str) -> str:
    """Of everything that decides what the environment holds."""
    files = [LOCKS / f"{name}.txt" for name in ("uv", "simd", "simd-build", profile)]
    files += [ROOT / "pyproject.toml", Path(__file__), Path(simd.__file__)]
    seen = hashlib.sha256(f"{ROOT} {sys.version}".encode())
    for file in files:
        seen.update(file.read_bytes())
    return seen.hexdigest()


def is_stamped(wanted: str, pillow: str) -> bool:
    """Whether the environment holds this profile, or a larger one."""
    try:
        stamp = json.loads(STAMP.read_text())
        found = stamp["profile"]
        fits = PROFILES.index(found) >= PROFILES.index(wanted) and stamp["pillow"] == pillow
        return fits and stamp["digest"] == digest(found) and PYTHON.exists()
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Only one boot works on the environment; the others wait here, and find it done."""
    with open(LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another boot of this folder.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ---- making it


def install(profile: str, pillow: str) -> None:
    """Installs the locked packages of the profile, and this folder as an editable package."""
    STAMP.unlink(missing_ok=True)
    make_tools()
    if not works(PYTHON):
        say(f"making .venv with Python {sys.version.split()[0]}.")
        clear(VENV, {TOOLS, LOCK})
        venv(VENV, "--without-pip")
    lock = LOCKS / f"{profile}.txt"
    wheel = simd.wheel(pillow, ROOT / ".wheels", build_wheel, say)
    say(f"installing {lock.read_text().count('==')} locked packages ({profile}).")
    install_lock(lock, wheel)
    missing = simd.missing_features(PYTHON) if wheel else []
    if missing and pillow == "simd":
        raise BootError(f"pillow-simd was built without {', '.join(missing)}: install their headers.")
    if missing:
        say(f"pillow-simd was built without {', '.join(missing)}, so stock Pillow is used.")
        install_lock(lock, None)
    uv("pip", "install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    STAMP.write_text(json.dumps({"profile": profile, "pillow": pillow, "digest": digest(profile)}))


def install_lock(lock: Path, wheel: Path | None) -> None:
    """Makes the environment hold exactly what the lock says, with `wheel` in the place of Pillow."""
    if wheel is not None:
        text, lock = simd.instead_of_pillow(lock.read_text(), wheel), VENV / "boot.txt"
        lock.write_text(text)
    uv("pip", "sync", "--require-hashes", str(lock))


def make_tools() -> None:
    """uv, in an environment of its own; pip, which brings it, stays there too."""
    mark = TOOLS / "uv.txt"
    lock = (LOCKS / "uv.txt").read_bytes() if (LOCKS / "uv.txt").exists() else b""
    python = TOOLS / "bin" / "python"
    if works(python) and UV.exists() and mark.exists() and mark.read_bytes() == lock:
        return
    say("fetching uv, which installs the rest.")
    shutil.rmtree(TOOLS, ignore_errors=True)
    need_venv()
    venv(TOOLS)
    source = ["--require-hashes", "-r", "uv.txt"] if lock else ["-r", "uv.in"]
    run([str(python), "-m", "pip", "install", "--quiet", *source], "pip cannot install uv", pip_environment())
    mark.write_bytes(lock)


def need_venv() -> None:
    """Debian keeps the parts that make environments in a package of their own."""
    if has_venv():
        return
    advice = "This Python cannot make virtual environments: install python3-venv (Debian, Ubuntu)"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise BootError(advice + ", or use a Python that can.")
    say("installing the Debian package python3-venv.")
    if not apt_get("install", "-y", "-q", "python3-venv"):
        apt_get("update", "-q")
        apt_get("install", "-y", "-q", "python3-venv")
    if not has_venv():
        raise BootError(advice + "; apt-get could not.")


def apt_get(*arguments: str) -> bool:
    """Whether apt-get, asking nothing and saying nothing, did it."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(["apt-get", *arguments], env=environment, capture_output=True).returncode == 0  # noqa: S603


def has_venv() -> bool:
    """Asked in a new process, as an import that failed is remembered."""
    code = "import venv, ensurepip"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0  # noqa: S603


def works(python: Path) -> bool:
    """Whether the environment's Python is there, starts, and is the one that runs this."""
    code = "import sys; print(sys.version)"
    try:
        found = subprocess.run([str(python), "-c", code], capture_output=True, text=True)  # noqa: S603
    except OSError:
        return False
    return found.stdout.strip() == sys.version.strip()


def clear(folder: Path, kept: set[Path]) -> None:
    """Empties a folder: `venv` over the environment of another Python would keep half of it."""
    for entry in set(folder.iterdir()) - kept:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def venv(folder: Path, *options: str) -> None:
    """Makes a virtual environment with the Python that runs this."""
    run(
        [sys.executable, "-m", "venv", *options, str(folder)],
        f"Python cannot make {folder}",
        pip_environment(),
    )


def build_wheel(folder: Path, compiler: str) -> None:
    """Builds pillow-simd's wheel into `folder` with that compiler. Its build tools are locked too.

    Raises:
        BootError: it cannot be built.
    """
    environment = TOOLS.parent / "simd"
    venv(environment, "--without-pip")
    try:
        python = str(environment / "bin" / "python")
        uv("pip", "sync", "--require-hashes", "simd-build.txt", python=python)
        pip = [
            str(TOOLS / "bin" / "python"),
            "-m",
            "pip",
            "--python",
            python,
            "wheel",
            "--quiet",
            "--no-deps",
        ]
        pip += [
            "--no-build-isolation",
            "--no-cache-dir",
            "--require-hashes",
            "-r",
            "simd.txt",
            "-w",
            str(folder),
        ]
        run(pip, "pillow-simd cannot be built", {**pip_environment(), "CC": compiler})
    finally:
        shutil.rmtree(environment, ignore_errors=True)


def write_locks() -> None:
    """`requirements/*.txt` from pyproject.toml and `requirements/*.in`; `make lock`."""
    for name, source in COMPILED.items():
        say(f"requirements/{name}.txt")
        options = "--universal --generate-hashes --no-annotate --no-header --no-emit-index-url"
        options += " --no-emit-find-links --upgrade --python-version 3.11 --output-file"
        uv("pip", "compile", *options.split(), name + ".txt", *source, extra_indexes=False)


# ---- running others


def uv(*arguments: str, python: str = str(PYTHON), extra_indexes: bool = True) -> None:
    """Runs uv on an environment, with the package indexes that pip is configured for."""
    environment = {**pip_environment(), **uv_indexes(extra=extra_indexes), "VIRTUAL_ENV": ""}
    where = ["--python", python] if arguments[1] != "compile" else []
    command = [str(UV), *arguments[:2], "--quiet", *where, *arguments[2:]]
    run(command, f"uv cannot {arguments[1]} the packages", environment)


def run(command: list[str], problem: str, environment: dict[str, str]) -> None:
    """Runs it in requirements/, and says what it said only if it fails."""
    done = subprocess.run(command, cwd=LOCKS, env=environment, capture_output=True, text=True)  # noqa: S603
    if done.returncode < 0:
        raise KeyboardInterrupt  # by a signal: most likely Ctrl-C, which it had too
    if done.returncode:
        sys.stderr.write(done.stdout[-2000:] + done.stderr[-6000:])
        raise BootError(problem + "; the lines above say why.")


def pip_environment() -> dict[str, str]:
    """Ours, without what would lead pip and Python astray inside an environment."""
    astray = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV")
    return {name: value for name, value in os.environ.items() if name not in astray}


def uv_indexes(*, extra: bool) -> dict[str, str]:
    """What pip is configured for, in variables of uv, as uv does not read it."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "uv" / "uv.toml"
    own = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA")
    if config.exists() or any(name.startswith(own) for name in os.environ):
        return {}  # uv is configured itself
    command = [str(TOOLS / "bin" / "python"), "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, env=pip_environment()).stdout  # noqa: S603
    translated = in_uvs_words(listed, extra=extra)
    return {name: value for name, value in translated.items() if not os.environ.get(name)}


def in_uvs_words(listed: str, *, extra: bool) -> dict[str, str]:
    """`pip config list` as variables of uv: `global.index-url='...'`, `:env:.cert='...'`."""
    given = {}
    # What comes later wins, and the environment over all.
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        given[name.rsplit(".", 1)[-1]] = value.strip().strip("'\"").replace("\\n", " ").split()
    found = {
        "UV_DEFAULT_INDEX": " ".join(given.get("index-url", [])),
        "UV_INSECURE_HOST": " ".join(given.get("trusted-host", [])),
        "SSL_CERT_FILE": " ".join(given.get("cert", [])),
    }
    if extra and (given.get("extra-index-url") or given.get("find-links")):
        # pip takes the best of all indexes, uv the first that knows the name. Hashes make either safe.
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
        found["UV_INDEX"] = " ".join(given.get("extra-index-url", []))
        found["UV_FIND_LINKS"] = ",".join(given.get("find-links", []))
    return {name: value for name, value in found.items() if value}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
