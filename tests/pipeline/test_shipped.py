"""The pipelines, the crontab and the systemd units that come with m2 can be used as they are."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from m2cli.cli import VERBS
from m2cli.pipeline import KafkaSource, load_pipeline
from m2cli.pipeline.keys import KEYS

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "pipelines"
OF_KAFKA = ("kafka", "topics", "source.topic", "source.start", "pipeline.lake_every")
PIPELINES = sorted(SHIPPED.glob("*.toml"))


def read_unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep their case
    unit.read_string((SHIPPED / name).read_text(encoding="utf-8"))
    return unit


def list_cron_lines() -> list[str]:
    lines = (SHIPPED / "crontab").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def is_verb(command: str) -> bool:
    program, verb, path, *rest = command.split()
    return Path(program).name == "m2" and verb in [known.name for known in VERBS] and not rest and path[0] == "/"


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_a_shipped_pipeline_loads_and_its_input_is_there(path: Path) -> None:
    rule = load_pipeline(path, environment={})
    assert rule.name == path.stem
    assert rule.lake.parent == ROOT / "build"
    globs = [glob for source in rule.sources if not isinstance(source, KafkaSource) for glob in source.paths]
    assert all(list(ROOT.glob(str(Path(glob).relative_to(ROOT)))) for glob in globs)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_what_a_shipped_pipeline_has_commented_out_can_be_put_in(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    settings = re.compile(r"^# (?=\[+[a-z]+\]+$|[a-z_]+ = )", re.MULTILINE)
    (tmp_path / path.name).write_text(settings.sub("", text), encoding="utf-8")
    assert len(settings.findall(text)) > 3
    assert load_pipeline(tmp_path / path.name, environment={})


def test_shop_shows_every_setting_but_those_of_access_logs() -> None:
    text = (SHIPPED / "shop.toml").read_text(encoding="utf-8")
    absent = [
        key.full_name
        for key in KEYS
        if f"{key.name} = " not in text and key.section not in OF_KAFKA and key.full_name not in OF_KAFKA
    ]
    assert absent == [f"source.{name}" for name in ("format", "keep", "cookies", "queries", "client_ip")]


def test_the_crontab_has_an_address_and_a_line_for_each_pipeline() -> None:
    settings = [line for line in list_cron_lines() if re.match(r"[A-Z]+=", line)]
    assert [line.partition("=")[0] for line in settings] == ["MAILTO", "PATH"]
    fields = [line.split(maxsplit=5) for line in list_cron_lines() if line not in settings]
    assert [(line[:5], line[5]) for line in fields] == [
        (["*/15", "*", "*", "*", "*"], f"m2 run /etc/m2/{path}.toml") for path in ("shop", "logs")
    ]
    assert all(is_verb(line[5]) for line in fields)


def test_the_service_runs_one_batch_and_may_meet_another_run() -> None:
    service = read_unit("m2-shop.service")["Service"]
    assert service["Type"] == "oneshot"
    assert is_verb(service["ExecStart"])
    assert service["SuccessExitStatus"] == "4"
    assert service["ProtectSystem"] == "strict"
    assert service["TimeoutStartSec"] == "infinity"


def test_the_service_that_stays_is_started_again_unless_a_person_has_to_look() -> None:
    service = read_unit("m2-kafka.service")["Service"]
    assert service["Type"] == "exec"
    assert service["ExecStart"].endswith("m2 run /etc/m2/kafka.toml --follow")
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("on-failure", "1 2")
    assert "PrivateNetwork" not in service


def test_the_timer_starts_the_service_every_quarter_of_an_hour() -> None:
    timer = read_unit("m2-shop.timer")
    assert timer["Timer"]["OnCalendar"] == "*:0/15"
    assert timer["Timer"]["Persistent"] == "true"
    assert "Unit" not in timer["Timer"]  # then it is the service of the same name
    assert timer["Install"]["WantedBy"] == "timers.target"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in ("m2-shop.service", "m2-kafka.service"):
        service = (SHIPPED / name).read_text(encoding="utf-8")
        own = service.replace("/usr/local/bin/m2", sys.executable)  # it asks whether the command is there
        (tmp_path / name).write_text(own, encoding="utf-8")
    shutil.copy(SHIPPED / "m2-shop.timer", tmp_path)
    units = [str(tmp_path / name) for name in ("m2-shop.service", "m2-shop.timer", "m2-kafka.service")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
