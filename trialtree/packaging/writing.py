"""Write the folder of a registered version, whole or not at all.

Dockerfile, .dockerignore     an image of python:3.X-slim that runs as a user without rights
requirements.txt              exact, with hashes, and only what serving this model needs
app/                          the modules of trialtree/ and stages/ that serve
model/                        the model's folder, its digests checked
serve, serve.json             what starts it, and what it is told of the model
kubernetes/                   manifests, and the kustomization that names the image
README.md                     how each of these is used
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Protocol

import trialtree
from stages import models
from stages.errors import UserError
from stages.files import as_json, put, replacing_folder
from trialtree.packaging import code, kubernetes, libraries, names

_TEMPLATES = Path(__file__).with_name("template")
_ROOTS = ("trialtree.packaging.launch", "trialtree.serving.supervisor", "trialtree.serving.worker")
_PYTHONS = ("3.11", "3.12", "3.13")  # that requirements.lock is for


class PackageError(UserError):
    """A version that cannot be packaged, or a place that it cannot be written to."""


class Version(Protocol):
    """A registered version, found."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def folder(self) -> Path:
        """The model's folder."""

    @property
    def digest(self) -> str: ...
    @property
    def gaps(self) -> tuple[str, ...]: ...
    @property
    def commit(self) -> str | None: ...


@dataclass(frozen=True)
class Written:
    """A package that was written."""

    image: str  # by which its texts call the image
    packages: int  # that are installed beside Python


def write(found: Version, out: Path, force: bool = False) -> Written:
    """Write the folder `out`.

    Raises:
        UserError: the model is damaged or of a kind that is not packaged, its libraries cannot be pinned, or `out` is
            there and `force` is not given.
    """
    _refuse_place(out, force)
    _refuse_model(found)
    told = _told(found)
    program = code.needed([*_ROOTS, *_own(found.folder)], _packages())
    pins = libraries.pinned(found.folder, program.foreign, told["python"])
    with replacing_folder(out) as folder:
        shutil.copytree(found.folder, folder / "model", copy_function=shutil.copyfile)
        if models.digest(folder / "model") != found.digest:
            raise PackageError(f"{found.folder} changed while it was copied")
        models.check(folder / "model")
        for name, path in program.files.items():
            _put(folder / "app" / name, path.read_bytes())
        _put(folder / "requirements.txt", "".join(f"{pin}\n" for pin in pins).encode())
        _put(folder / "serve.json", as_json(told))
        for name, content in kubernetes.manifests(_served(told)).items():
            _put(folder / "kubernetes" / name, content)
        for name, content in _texts(told).items():
            _put(folder / name, content)
        _open(folder)
    return Written(_served(told).image, len({pin.name for pin in pins}))


def _refuse_place(out: Path, force: bool) -> None:
    """Refuse what another folder or file would be lost by."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() and not (out / "serve.json").exists():
        raise PackageError(f"{out} is there, and no package of a model; name another folder")
    if out.exists() and not force:
        raise PackageError(f"{out} is there; --force replaces it")


def _refuse_model(found: Version) -> None:
    """Refuse a model that is damaged or that a package cannot serve."""
    what = f"{names.plain(found.name)}/{found.version}"
    models.check(found.folder)
    if models.digest(found.folder) != found.digest:
        raise PackageError(f"{what}: {found.folder} holds another model than was registered: its SHA-256 differs")
    if models.by_script(found.folder):
        raise PackageError(f"{what} is the model of a training script, which takes its own form of rows")
    if (found.folder / "estimator.pkl").exists():
        raise PackageError(f"{what} is a pickle, which runs code when it is loaded; a package holds none")


def _told(found: Version) -> dict[str, Any]:
    """Return what the server is told, and README.md says."""
    made = json.loads((found.folder / "versions.json").read_text(encoding="utf-8"))
    python = ".".join(made["python"].split(".")[:2])
    if python not in _PYTHONS:
        raise PackageError(f"the model was made with Python {python}; a package is for {', '.join(_PYTHONS)}")
    return {
        "format": 1,
        "name": found.name,
        "version": found.version,
        "digest": found.digest,
        "commit": found.commit,
        "gaps": sorted(found.gaps),
        "python": python,
    }


def _own(model: Path) -> list[str]:
    """Return the modules of stages/ whose classes a model holds."""
    return sorted(name for name in libraries.classes(model) if name.startswith("stages."))


def _packages() -> dict[str, Path]:
    """Return where our packages are: stages is the repository's, trialtree the one that runs."""
    return {"stages": Path("stages").absolute(), "trialtree": Path(trialtree.__file__).parent}


def _served(told: Mapping[str, Any]) -> kubernetes.Served:
    """Return how Kubernetes is to name it."""
    name = names.of_service(told["name"])
    notes = {f"trialtree/{key}": str(told[key]) for key in ("name", "version", "digest", "commit") if told[key]}
    return kubernetes.Served(name, f"{name}:{names.of_tag(told['version'])}", notes)


def _texts(told: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files that are made of templates."""
    served = _served(told)
    values = {
        "name": names.plain(told["name"]),
        "version": names.plain(told["version"]),
        "digest": told["digest"],
        "commit": told["commit"] or "none: the model was registered before its commit",
        "python": told["python"],
        "service": served.name,
        "image": served.image,
        "port": str(kubernetes.PORT),
        "uid": str(kubernetes.UID),
        "labels": _labels(told),
    }
    files = {"Dockerfile": "Dockerfile", ".dockerignore": "dockerignore", "serve": "serve", "README.md": "README.md"}
    filled = {name: Template((_TEMPLATES / source).read_text(encoding="utf-8")) for name, source in files.items()}
    return {name: template.substitute(values).encode() for name, template in filled.items()}


def _labels(told: Mapping[str, Any]) -> str:
    """Return the labels of the image, quoted as a Dockerfile has it."""
    labels = {
        "org.opencontainers.image.title": told["name"],
        "org.opencontainers.image.version": told["version"],
        "org.opencontainers.image.revision": told["commit"],
        "trialtree.model.digest": told["digest"],
    }
    return " \\\n      ".join(f"{key}={_quoted(names.plain(value))}" for key, value in labels.items() if value)


def _quoted(text: str) -> str:
    for character in ("\\", '"', "$"):
        text = text.replace(character, f"\\{character}")
    return f'"{text}"'


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, content)


def _open(folder: Path) -> None:
    """Let everybody read all: in an image the files are root's, and the server is another user."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.name == "serve" else 0o644)
