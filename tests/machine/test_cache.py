"""Keep in the cache what is used."""

import os
import time

from darnet_trt.machine.cache import KEPT_DAYS, cache_folder, drop_unused, used


def test_what_nobody_used_for_long_is_removed_with_folders_left_empty(no_libraries):
    room = cache_folder("room")
    names = ("old", "read", "new", "gone/old", "stays/old", "stays/new")
    for name in names:
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).touch()
        if not name.endswith("new"):
            os.utime(room / name, times=(time.time() - (KEPT_DAYS + 1) * 86_400,) * 2)
    used(room / "read")
    drop_unused("room")
    left = {str(path.relative_to(room)) for path in room.rglob("*")}
    assert left == {"read", "new", "stays", "stays/new"}


def test_without_a_cache_nothing_is_removed(no_libraries, monkeypatch):
    drop_unused("room")
    used(cache_folder("room") / "a")
    assert not no_libraries.exists()
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    drop_unused("room")
