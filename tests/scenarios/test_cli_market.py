"""The commands `market orpd`, `price` and `match`."""

import json

import pandapower
import pytest
from typer.testing import CliRunner

from gridloop.scenarios.cli import app
from gridloop.scenarios.console import out
from gridloop.scenarios.market_paper import Figure


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(out, "_width", 160)  # whatever the terminal


def gridloop(*words, code=0):
    found = CliRunner().invoke(app, ["market", *words])
    assert found.exit_code == code, found.output
    return found.output


def answer(*words, code=0):
    return json.loads(gridloop(*words, "--json", code=code))


def row_of(output, start):
    """The words of the first line that begins so."""
    return next(line.split() for line in output.splitlines() if line.strip().startswith(start))


def test_orpd_of_the_papers_case_2():
    text = gridloop("orpd", "orpd9")
    assert "3.935809 MW (-32.38 %), pandapower 3.935809 MW" in text
    assert row_of(text, "Q svc9")[3].startswith("182.16")
    assert "impossible: below the least" in text
    found = answer("orpd", "orpd9")
    assert found["feasible"]
    assert found["loss_mw"] == pytest.approx(found["loss_pandapower_mw"], abs=1e-7)
    assert found["v_pu"]["6"] == pytest.approx(1.1, abs=1e-6)
    assert found["history"][-1][0] == found["evaluations"]
    assert [figure["verdict"] for figure in found["paper"]] == [
        "reproduces", "impossible: below the least", "does not reproduce: not the least",
    ]  # fmt: skip


def test_orpd_of_a_net_of_pandapower_by_evolution_is_repeatable():
    words = ("orpd", "case9", "--method", "sbde", "--profile", "paper", "--seed", "4", "--controls", "voltages")
    first, second = answer(*words), answer(*words)
    assert first == second
    assert first["loss_mw"] == pytest.approx(4.009894, rel=1e-2)
    assert "paper" not in first


def test_orpd_writes_the_net_and_reads_it_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "best.json" in gridloop("orpd", "orpd9", "--save", "best.json")
    net = pandapower.from_json("best.json")
    pandapower.runpp(net, numba=False)
    assert net.res_line.pl_mw.sum() == pytest.approx(3.935809, abs=1e-5)
    assert answer("orpd", "best.json", "--controls", "")["loss_before_mw"] == pytest.approx(3.935809, abs=1e-5)
    wrong = gridloop("orpd", "case9", "--save", "best.yaml", code=2)
    assert "--save best.yaml: a net is written to a .json file" in wrong


def test_orpd_that_keeps_no_limits_ends_with_1():
    text = gridloop("orpd", "orpd9-1", "--controls", "svcs", code=1)
    assert "no setting was found that keeps all limits" in text
    assert "V at bus 9 = 0.7798 pu < 0.9" in text


def test_price_of_case_1_with_and_without_the_misprint():
    text = gridloop("price", "orpd9-1")
    assert row_of(text, "g1") == ["g1", "77.947", "140.457", "258.354"]
    assert row_of(text, "load9")[:3] == ["load9", "200.000", "324.199"]
    assert row_of(text, "table 3, case 1, g1")[6:9] == ["285.900", "258.354", "286.180"]
    misprinted = answer("price", "orpd9-1", "--misprint")
    assert list(misprinted["cost_per_h"].values()) == pytest.approx([285.9, 71.2, 22.2], rel=2e-3)
    assert sum(row["g3"] for row in misprinted["share_per_h"].values()) == pytest.approx(22.204, abs=1e-3)


def test_price_at_the_optimum_of_the_other_reading():
    found = answer("price", "orpd9", "--optimal", "--pricing", "capability", "--svc-rating", "output", "--years", "10")
    assert found["q_mvar"]["svc9"] == pytest.approx(182.166, abs=5e-3)
    assert found["cost_per_h"]["svc9"] == pytest.approx(340.03 / 2, abs=0.01)
    assert found["p_mw"]["svc9"] is None


def test_table_3_and_5_and_their_verdicts():
    prices = {figure["what"]: figure["verdict"] for figure in answer("price", "orpd9")["paper"]}
    assert {prices[f"table 3, case {case}, g{g}"] for case in (1, 2) for g in (1, 2, 3)} == {
        "reproduces with the misprint"
    }
    assert prices["table 4, SVC"] == "reproduces"
    assert prices["table 4, case 2, g2 to load7"] == "does not reproduce"
    matches = {figure["what"]: figure["verdict"] for figure in answer("match", "orpd9-0")["paper"]}
    assert matches["table 5, g1 to bus 7, 5 MW"] == "approximately, sign lost"
    assert matches["table 5, g2 to bus 7, 100 MW"] == "does not reproduce"


def test_match_names_who_is_refused_and_why():
    text = gridloop("match", "orpd9-0", "--buy", "7=100@0-2", "--buy", "5=125@1-3")
    assert "bus 7 buys 100 MW from 0 to 2 h: g1" in text
    assert "line 8-2 loaded 106.9 %" in text
    assert "bus 5 buys 125 MW from 1 to 3 h: every seller is refused" in text
    found = answer("match", "orpd9-0", "--buy", "7=100", "--seller", "g2", "--seller", "g3")["matches"][0]
    assert found["seller"] == "g3"
    assert found["offers"][0]["refused"] == ["line 8-2 loaded 106.9 %"]
    best = answer("match", "orpd9", "--buy", "7=5", "--optimal")["matches"][0]
    assert best["offers"][0]["loss_mw"] < 3.95


@pytest.mark.parametrize(("words", "message"), [
    (("orpd", "case99"), "pandapower.networks has no network 'case99'"),
    (("orpd", "case9", "--controls", "tap"), "controls tap: there are voltages, taps, svcs"),
    (("orpd", "case9", "--method", "pso"), "method 'pso': there are slsqp, sbde"),
    (("orpd", "case9", "--misprint"), "--misprint is for orpd9-0, orpd9-1, orpd9"),
    (("match", "case9"), "say what is bought: --buy BUS=MW, e.g. --buy 7=100@0-2"),
    (("match", "case9", "--buy", "7=x"), "--buy 7=x: could not convert string to float"),
    (("match", "case9", "--buy", "7=5@3-1"), "the window 3..1 h is empty"),
    (("match", "case9", "--buy", "7=5@3"), "is missing a part"),
])  # fmt: skip
def test_wrong_words_end_with_2_and_say_what_to_do(words, message):
    assert message in gridloop(*words, code=2)


def test_verdicts():
    def verdict(paper, ours, misprint=None, least=False):
        return Figure("what", "unit", paper, ours, misprint, least).verdict

    assert verdict(10, 10.04) == "reproduces"
    assert verdict(10, 5, 10.04) == "reproduces with the misprint"
    assert verdict(10, -9.5) == "approximately, sign lost"
    assert verdict(10, 5, 9.5) == "approximately, with the misprint"
    assert verdict(10, 8) == "does not reproduce"
    assert verdict(10, 11, least=True) == "impossible: below the least"
