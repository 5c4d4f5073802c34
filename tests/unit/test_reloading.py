import io
import os
import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from dropzone import log
from dropzone.config_source import QUIET_SECONDS, ConfigSource
from dropzone.errors import ConfigurationError
from dropzone.reloading import Reload, plan
from dropzone.settings import Settings, Zone
from dropzone.stage import Inbox, Stage
from zones_helpers import eventually


def settings(**sections):
    return Settings.model_validate(sections)


def test_what_can_change_changes_and_the_rest_keeps_its_value():
    old = settings(postgres={"host": "a", "password": "kG7-canary"})
    new = settings(
        postgres={"host": "b", "password": "kG8-canary"},
        log={"level": "debug"},
        mlflow={"batch_files": 7, "experiment_name": "x"},
    )
    made = plan(old, new)
    assert made.settings.log.level == "debug"
    assert made.settings.mlflow.batch_files == 7
    assert made.settings.mlflow.experiment_name == "dropzone"
    assert made.settings.postgres == old.postgres
    assert [change.key for change in made.changed] == [
        "mlflow.batch_files",
        "log.level",
    ]
    told = [str(change) for change in made.refused]
    assert told == [
        "postgres.host: a -> b",
        "postgres.password: ******** -> ********",
        "mlflow.experiment_name: dropzone -> x",
    ]
    # What lies in a file is read again by those who use it.
    made = plan(old, new, {"postgres.password"})
    assert made.settings.postgres.password == SecretStr("kG8-canary")
    assert made.settings.postgres.host == "a"


def test_zones_are_told_apart_by_name():
    one, two = Zone(name="one", path=Path("/1")), Zone(name="two", path=Path("/2"))
    still = one.model_copy(update={"ignore": ("*.x",), "events": False})
    made = plan(Settings(zones=(one, two)), Settings(zones=(two, still)))
    assert [zone.name for zone in made.settings.zones] == ["one", "two"]
    assert made.settings.zones[0].ignore == ("*.x",)
    assert made.settings.zones[0].events
    assert [str(change) for change in made.refused] == [
        "zones.one.events: True -> False",
        "zones, which is the first: one -> two",
    ]
    three = Zone(name="three", path=Path("/3"))
    made = plan(Settings(zones=(one,)), Settings(zones=(two, three)))
    assert [zone.name for zone in made.added] == ["two", "three"]
    assert [change.key for change in made.refused] == ["zones.one"]


def test_new_and_old_values_that_do_not_fit_together_change_nothing():
    old = Settings(zones=(Zone(name="one", path=Path("/z/one")),))
    new = Settings(zones=(Zone(name="two", path=Path("/z/one/deeper")),))
    with pytest.raises(ConfigurationError, match="lies inside") as caught:
        plan(old, new)
    outcome = Reload.failed(1.0, caught.value)
    assert not outcome.ok
    assert outcome.told()["what_to_do"] == "Restart the daemon, or change less."


def test_an_edit_counts_when_it_is_complete(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("log: {level: info}\n")
    source = ConfigSource(path, {})
    assert not source.is_edited()
    path.write_text("log: {lev")
    begun = time.monotonic()
    assert not source.is_edited()
    aside = tmp_path / "new"
    aside.write_text("log: {level: debug}\n")
    aside.rename(path)
    eventually(source.is_edited)
    assert time.monotonic() - begun >= QUIET_SECONDS
    assert source.read().settings.log.level == "debug"
    assert not source.is_edited()
    # A touch without a change is an edit too; an edit taken back is none.
    status = path.stat()
    os.utime(path, ns=(1, 1))
    assert not source.is_edited()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not source.is_edited()
    path.write_text("log: {levle: debug}\n")
    with pytest.raises(ConfigurationError):
        source.read()
    # It is told once, not each second.
    assert not source.is_edited()
    assert source.last.settings.log.level == "debug"


def test_loggers_that_are_held_follow_the_level_and_the_form():
    out = io.StringIO()
    try:
        log.configure("info", "json", out)
        held = log.get("part").bind(zone="one")
        held.debug("hidden")
        log.configure("debug", "human", out)
        held.debug("seen", key="value")
        log.configure("error", "json", out)
        held.warning("hidden")
        try:
            int("why")
        except ValueError:
            held.exception("broken")
    finally:
        log.configure()
    lines = out.getvalue().splitlines()
    assert "hidden" not in out.getvalue()
    assert "seen" in lines[0]
    assert not lines[0].startswith("{")
    assert '"exception": "Traceback' in lines[1]


def test_a_step_gets_more_threads_and_fewer():
    stop = threading.Event()

    def work(jobs):
        raise AssertionError(jobs)

    def alive():
        listed = {thread.name for thread in threading.enumerate()}
        return {name for name in listed if name.startswith("sized-")}

    inbox = Inbox(None, None, 4)
    stage = Stage("sized", inbox, work, stop, workers=2)
    # Before the start, and after it.
    stage.resize(3)
    assert not alive()
    stage.start()
    assert len(alive()) == 3
    stage.resize(1)
    eventually(lambda: alive() == {"sized-0"})
    stage.resize(4)
    assert len(alive()) == 4
    stop.set()
    assert stage.join(5)
    assert not alive()
