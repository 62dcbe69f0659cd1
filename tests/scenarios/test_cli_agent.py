"""The commands for serial agents: `agent`, and `hil scan` and `hil emulate` of one."""

import json
import threading

import pytest
from typer.testing import CliRunner

from gridloop.hil.agent_emulator import AgentEmulator
from gridloop.scenarios import agent_served
from gridloop.scenarios.cli import app
from gridloop.scenarios.cli_hil_agents import in_words

ANY_PORT = "serial+socket://127.0.0.1:0?codec=json"


def said(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result.output


def served(what: str) -> AgentEmulator:
    return agent_served.served_agent(what, ANY_PORT, "microgrid9" if "." in what else "ieee9")[0]


def test_the_options_of_a_unit_are_those_of_the_scenario():
    lines = said("agent", "--of", "batt1.agent", "--scenario", "microgrid9", "--options").splitlines()
    assert {"--s-rated-kva=1000.0", "--pin=1.0", "--c2-per-s=1.0", "--f-nom-hz=60.0"} <= {*lines}
    assert not any(line.startswith(("--role", "--law")) for line in lines)
    lines = said("agent", "--of", "inv2", "--scenario", "ieee9", "--options").splitlines()
    assert {"--role=inverter", "--s-rated-kva=200000.0"} <= {*lines}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--of", "inv2"), "belong together"),
        (("--of", "inv9", "--scenario", "ieee9"), "did you mean inv"),
        (("--of", "pv1.agent", "--scenario", "microgrid9"), "pv1 has no agent"),
        (("--of", "diesel1", "--scenario", "microgrid9"), "no droop inverter"),
        (("--listen", "nowhere"), "'nowhere' is not HOST:PORT"),
        ((), "one of the arguments --serial --listen --connect is required"),
    ],
)
def test_what_is_wrong_is_said(words, message):
    assert message in said("agent", *words, code=2)


def test_its_help_is_that_of_the_one_file():
    text = said("agent", "--help")
    assert "--of UNIT" in text and "--control FILE" in text and "usage: gridloop agent" in text


def test_a_scan_says_who_is_there_and_how_fast():
    with served("batt1.agent") as agent:
        found = json.loads(said("hil", "scan", in_words(agent.url), "--count", "20", "--json"))
        text = said("hil", "scan", in_words(agent.url), "--count", "5")
    assert (found["role"], found["period_ms"], found["codec"]) == ("secondary", 50, "json")
    assert found["latency"]["requests"] == 20 and found["latency"]["rtt_ms"]["p50"] > 0
    assert found["clock_error_ms"] >= 0 and "secondary, a tick every 50 ms" in text
    assert "Connect call failed" in said("hil", "scan", in_words(agent.url), code=1)


def test_what_is_emulated_can_be_driven_by_a_run(tmp_path):
    with served("inv2") as agent:
        keys = {"mode": "lockstep", "deadline_ms": 50, "url": in_words(agent.url)}
        from gridloop.scenarios import load, run

        case = load("ieee9").with_overrides({"until_s": 0.3, "events": [], "units.inv2.device": keys})
        result = run(case, folder=tmp_path / "run")
        assert result.status == "done" and result.series("inv2", "active[1]")[1].all()
        assert agent.written["P_gen[MW]"] == pytest.approx(163, rel=1e-6)
    assert result.series("inv2", "f[Hz]")[1] == pytest.approx(60, abs=1e-6)


def test_hil_emulate_serves_until_its_time_is_over():
    done = []
    thread = threading.Thread(target=lambda: done.append(said(
        "hil", "emulate", "batt1.agent", "--scenario", "microgrid9", "--as", ANY_PORT, "--fault", "silent",
        "--for", "0.1",
    )))  # fmt: skip
    thread.start()
    thread.join(60)
    assert "the agent of batt1 in microgrid9, law F" in done[0] and "serial+socket://127.0.0.1:" in done[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("inv2", "--as", ANY_PORT), "of which scenario? Add --scenario NAME"),
        (("pv1", "--scenario", "microgrid9", "--as", ANY_PORT), "pv1 injects power"),
        (("inv2", "--scenario", "ieee9", "--as", "serial+socket://0.0.0.0:0"), "other machines could reach it"),
    ],
)
def test_what_cannot_be_served_is_said(words, message):
    assert message in said("hil", "emulate", *words, code=2)
