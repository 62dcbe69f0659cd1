"""What is installed is what the folders hold, and the command starts without the slow libraries."""

import configparser
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import gridloop.scenarios

ROOT = Path(__file__).parents[1]
PACKAGES = ["gridloop.simulators", "gridloop.scenarios", "gridloop.hil"]
SLOW = {"h5py", "matplotlib", "mosaik", "pandapower", "pandas", "pyarrow", "scipy"}


def setup_cfg(section, key):
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser[section][key]


def test_every_folder_with_an_init_is_an_installed_package():
    folders = {
        "gridloop." + ".".join(init.parent.relative_to(ROOT).parts)
        for top in PACKAGES
        for init in (ROOT / top.rpartition(".")[2]).rglob("__init__.py")
    }
    assert folders == set(setup_cfg("options", "packages").split())


def test_every_data_file_is_installed():
    for package in PACKAGES:
        folder = ROOT / package.rpartition(".")[2]
        patterns = setup_cfg("options.package_data", package).replace(",", " ").split()
        installed = {path for pattern in patterns for path in folder.glob(pattern)}
        files = (path for path in folder.rglob("*.*") if path.suffix != ".py")
        present = {path for path in files if path.parent.name != "__pycache__"}
        assert present == installed


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_announced(package):
    assert (resources.files(package) / "py.typed").is_file()


def test_the_installed_version_is_the_one_declared():
    assert metadata.version("gridloop") == setup_cfg("metadata", "version")


def test_mosaik_is_of_the_line_that_this_python_gets():
    assert metadata.version("mosaik").startswith("3.7." if sys.version_info >= (3, 12) else "3.6.")


@pytest.mark.parametrize("name", gridloop.scenarios.__all__)
def test_public_names_are_found(name):
    assert getattr(gridloop.scenarios, name).__name__ == name


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"gridloop\.scenarios.*'runs'"):
        _ = gridloop.scenarios.runs


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_does_not_import_the_slow_libraries(arguments):
    # importtime lists each import on stderr as `import time: self | cumulative | name`
    start = "from gridloop.scenarios.cli import main; main()"
    command = [sys.executable, "-X", "importtime", "-c", start, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "Usage" in done.stdout
    assert "gridloop.scenarios.cli" in imported
    assert not imported & SLOW
