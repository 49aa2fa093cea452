"""Unpacking archives from elsewhere: nothing outside the folder, all or nothing."""

import io
import os
import shutil
import stat
import zipfile

import attrs
import pytest
from hacore_packing.archive import unpack

from hacore.errors import DataError


def zipped(files, base=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(str(name.relative_to(base)) if base else name, data)
    return buffer.getvalue()


def listing(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def limited(size):
    """Files cannot be longer than this."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_while_unpacking(tmp_path):
    path = tmp_path / "data.zip"
    path.write_bytes(zipped({"top/a": b"a" * 100, "top/b": b"b" * 5000}))
    release = limited(2000)
    try:
        with pytest.raises(DataError, match=r"cannot be unpacked.*make room and run again"):
            unpack(path, tmp_path / "data", lambda done, total: None)
    finally:
        release()
    assert listing(tmp_path) == ["data.zip"]


def link(name):
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "leaves the folder"),
        ("top/../../evil", "leaves the folder"),
        ("/evil", "leaves the folder"),
        ("C:/evil", "leaves the folder"),
        ("top\\..\\..\\evil", "leaves the folder"),
        (link("top/link"), "is a link or a device"),
        ("TOP/good", "is there twice"),
    ],
)
def test_unsafe_archives_are_refused_whole(tmp_path, names, name, reason):
    path = tmp_path / "in" / "data.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top/good", "good")
        archive.writestr(name, "/etc/passwd")
        archive.writestr("../also", "evil")
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "in" / "data", lambda done, total: None)
    names(str(caught.value), f"{path}:", "2 members", reason, "'../also' leaves the folder", "another place")
    assert listing(tmp_path / "in") == ["data.zip"]
    assert listing(tmp_path) == ["in"]


def test_encrypted_archives_are_refused(tmp_path):
    path = tmp_path / "data.zip"
    content = bytearray(zipped({"top/a": b"a"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="'top/a' is encrypted"):
        unpack(path, tmp_path / "data", lambda done, total: None)


def test_damaged_members_are_all_named(tmp_path):
    path = tmp_path / "data.zip"
    files = {f"top/{name}": os.urandom(300) for name in "abcd"}
    content = bytearray(zipped(files))
    for name in ("top/b", "top/d"):
        content[content.index(files[name][:20])] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"2 of 4 files.*damaged.*top/b: .*top/d: .*delete it"):
        unpack(path, tmp_path / "data", lambda done, total: None)
    assert listing(tmp_path) == ["data.zip"]


def test_archive_that_unpacks_to_more_than_fits(tmp_path, monkeypatch):
    path = tmp_path / "data.zip"
    path.write_bytes(zipped({"top/a": bytes(10**6)}))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10**6 - 1))
    with pytest.raises(DataError, match=r"needs 0.0 GB, 0.0 GB are free"):
        unpack(path, tmp_path / "data", lambda done, total: None)
    assert listing(tmp_path) == ["data.zip"]


@pytest.mark.parametrize("files", [{"a": b"1", "b/c": b"2"}, {"a": b"1"}])
def test_archive_without_a_folder(tmp_path, files):
    path = tmp_path / "data.zip"
    path.write_bytes(zipped(files))
    outcome = unpack(path, tmp_path / "data", lambda done, total: None)
    assert attrs.astuple(outcome) == (len(files), len(files))
    assert {name: (tmp_path / "data" / name).read_bytes() for name in files} == files
