"""Wrong secondary control and communication: files, each with the whole answer that its user gets."""

from pathlib import Path

import pytest

from gridloop.scenarios import load
from gridloop.scenarios.start import plan
from wrong_text import Change, answer, changed, write_neighbours

BATTERY = "source: {type: battery, e_rated_kwh: 2000, soc_init_percent: 60}"
DIESEL = "  diesel1: {type: diesel, bus: 2, s_rated_kva: 2000}\n"
CONTROL = "control:\n  frequency: {law: F, limit_hz: 1}\n  voltage: {law: V}\n"
JITTER = "  jitter: {kind: uniform, percent: 20}\n"
MEMBERS = "  members: [batt1, diesel1]\n"
LEADER = "  leader: batt1\n"
DELAY = "  delay_ms: 50\n"
LINKS = '  links: {"batt1->diesel1": {delay_ms: 80}}\n'
SIGNALS = '  signals: {"batt1->pv1": {attr: "f[Hz]", to_attr: "f_meas[Hz]"}}\n'
DOWN = '  - {t_s: 1, do: link_down, link: "batt1->diesel1", for_s: 0.5}\n'
SET = "  - {t_s: 1.5, do: set, path: comms.delay_ms, value: 100}\n"
RIGHT = f"""\
schema: 1
name: wrong
until_s: 2
clock: 2026-06-21T12:00:00+02:00
grid: {{net: case9, base: {{s_mva: 1, v_kv: 11}}, f_nom_hz: 50}}
profiles:
  sky: {{file: sky.csv, columns: {{ghi: "GHI[W_per_m2]", t_air: "T[degC]"}}}}
units:
  batt1: {{type: inverter, bus: 1, s_rated_kva: 1000, {BATTERY}}}
{DIESEL}  pv1: {{type: inverter, control: following, bus: 3, s_rated_kva: 1250,
    source: {{type: pv, modules: 3600, ghi: sky.ghi, t_air: sky.t_air}}}}
{CONTROL}{MEMBERS}{LEADER}comms:
{DELAY}{JITTER}{LINKS}{SIGNALS}events:
{DOWN}{SET}"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder with what the wrong files name, or almost name."""
    monkeypatch.chdir(tmp_path)
    write_neighbours()


def test_file_without_changes_is_right() -> None:
    Path("right.yaml").write_text(RIGHT, encoding="utf-8")
    plan(load("right.yaml"))


WRONG: dict[str, tuple[list[Change], str]] = {
    "key of the control in another unit": (
        [("limit_hz: 1", "limit_khz: 1")],
        """\
wrong.yaml:14:23: control.frequency.limit_khz: unknown key; did you mean limit_hz? It is in Hz, not in kHz
    14 |   frequency: {law: F, limit_khz: 1}
       |                       ^""",
    ),
    "misspelt key of the control": (
        [(LEADER, LEADER + "  perid_ms: 5\n")],
        """\
wrong.yaml:18:3: control.perid_ms: unknown key; did you mean period_ms?
    18 |   perid_ms: 5
       |   ^""",
    ),
    "unknown law": (
        [("law: F", "law: Q")],
        """\
wrong.yaml:14:15: control.frequency.law: must be F, D, C, none, or MODULE:FUNCTION for a law of your own, got 'Q'
    14 |   frequency: {law: Q, limit_hz: 1}
       |               ^""",
    ),
    "law in small letters": (
        [("law: V}", "law: v}")],
        """\
wrong.yaml:15:13: control.voltage.law: must be V, Vprime, paper23, C, none, or MODULE:FUNCTION for a law of your \
own, got 'v'
    15 |   voltage: {law: v}
       |             ^""",
    ),
    "law of one's own that is not there": (
        [("law: F", "law: laws:sharing")],
        """\
wrong.yaml:14:15: control.frequency.law: 'laws' cannot be imported from the current folder: ModuleNotFoundError: No \
module named 'laws'
    14 |   frequency: {law: laws:sharing, limit_hz: 1}
       |               ^""",
    ),
    "law of one's own with another name": (
        [("law: F", "law: own:sharig")],
        """\
wrong.yaml:14:15: control.frequency.law: 'own' has no 'sharig'; did you mean sharing?
    14 |   frequency: {law: own:sharig, limit_hz: 1}
       |               ^""",
    ),
    "law of one's own that is none": (
        [("law: F", "law: own:NUMBER")],
        """\
wrong.yaml:14:15: control.frequency.law: 'own:NUMBER' is of type int, not a function
    14 |   frequency: {law: own:NUMBER, limit_hz: 1}
       |               ^""",
    ),
    "gain below zero": (
        [("limit_hz: 1", "c2_per_s: -1")],
        """\
wrong.yaml:14:23: control.frequency.c2_per_s: must be at least 0, got -1
    14 |   frequency: {law: F, c2_per_s: -1}
       |                       ^""",
    ),
    "no members": (
        [(MEMBERS, "")],
        """\
wrong.yaml:13:1: control: members is missing
    13 | control:
       | ^""",
    ),
    "empty members": (
        [(MEMBERS, "  members: []\n")],
        """\
wrong.yaml:16:3: control.members: must not be empty, got []
    16 |   members: []
       |   ^""",
    ),
    "unknown member": (
        [("[batt1, diesel1]", "[batt1, diesel2]")],
        """\
wrong.yaml:16:20: control.members.1: there is no unit 'diesel2'; did you mean diesel1?
    16 |   members: [batt1, diesel2]
       |                    ^""",
    ),
    "member twice": (
        [("[batt1, diesel1]", "[batt1, diesel1, batt1]")],
        """\
wrong.yaml:16:29: control.members.2: batt1 is a member already
    16 |   members: [batt1, diesel1, batt1]
       |                             ^""",
    ),
    "following member": (
        [("[batt1, diesel1]", "[batt1, diesel1, pv1]")],
        """\
wrong.yaml:16:29: control.members.2: pv1 is a following inverter: members form the grid, as droop inverters and \
diesel sets do
    16 |   members: [batt1, diesel1, pv1]
       |                             ^""",
    ),
    "leader that is no member": (
        [("leader: batt1", "leader: pv1")],
        """\
wrong.yaml:17:3: control.leader: 'pv1' is no member; known: batt1, diesel1
    17 |   leader: pv1
       |   ^""",
    ),
    "no leader": (
        [(LEADER, "")],
        """\
wrong.yaml:13:1: control: law F restores the frequency that the leader measures, and leader is missing
    13 | control:
       | ^""",
    ),
    "no leader for law C": (
        [(LEADER, ""), ("law: F", "law: C"), ("law: V", "law: none"), (LINKS, ""), (DOWN, "")],
        """\
wrong.yaml:13:1: control: law C restores the frequency that the leader measures, and leader is missing
    13 | control:
       | ^""",
    ),
    "leader and pins": (
        [(LEADER, LEADER + "  pins: {batt1: 1}\n")],
        """\
wrong.yaml:13:1: control: give leader or pins, not both; a leader is a pin of 1
    13 | control:
       | ^""",
    ),
    "pin of no member": (
        [(LEADER, "  pins: {bat1: 1}\n")],
        """\
wrong.yaml:17:10: control.pins.bat1: 'bat1' is no member; did you mean batt1?
    17 |   pins: {bat1: 1}
       |          ^""",
    ),
    "period that cannot be": (
        [(LEADER, LEADER + "  period_ms: 0.0005\n")],
        """\
wrong.yaml:18:3: control.period_ms: must be a multiple of 0.001 ms, got 0.0005
    18 |   period_ms: 0.0005
       |   ^""",
    ),
    "handling that is not there": (
        [(LEADER, LEADER + "  delay_handling: matching\n")],
        """\
wrong.yaml:18:3: control.delay_handling: must be 'matched' or 'neighbour_only', got 'matching'
    18 |   delay_handling: matching
       |   ^""",
    ),
    "controller with the name of a unit": (
        [("law: F", "law: C"), (LEADER, LEADER + "  central: [pv1]\n")],
        """\
wrong.yaml:18:13: control.central.0: 'pv1' is the name of another entity already
    18 |   central: [pv1]
       |             ^""",
    ),
    "balancing without a battery": (
        [
            (LEADER, LEADER + "  balancing: {gain: 1}\n"),
            (", source: {type: battery, e_rated_kwh: 2000, soc_init_percent: 60}", ""),
        ],
        """\
wrong.yaml:18:3: control.balancing: no member has a battery: give one `source: {type: battery, ...}`
    18 |   balancing: {gain: 1}
       |   ^""",
    ),
    "balancing without its gain": (
        [(LEADER, LEADER + "  balancing: {limit_percent: 1}\n")],
        """\
wrong.yaml:18:3: control.balancing: gain is missing
    18 |   balancing: {limit_percent: 1}
       |   ^""",
    ),
    "unknown graph": (
        [(DELAY, DELAY + "  graph: rng\n")],
        """\
wrong.yaml:20:3: comms.graph: must be line, ring, star, full, or a list of pairs such as [[a, b], [b, c]], got 'rng'
    20 |   graph: rng
       |   ^""",
    ),
    "graph of no pairs": (
        [(DELAY, DELAY + "  graph: [[batt1, diesel1, pv1]]\n")],
        """\
wrong.yaml:20:3: comms.graph: must hold pairs of names such as [[a, b], [b, c]], got [['batt1', 'diesel1', 'pv1']]
    20 |   graph: [[batt1, diesel1, pv1]]
       |   ^""",
    ),
    "graph with a stranger": (
        [(DELAY, DELAY + "  graph: [[batt1, diesel2]]\n")],
        """\
wrong.yaml:20:11: comms.graph.0: 'diesel2' is no member of the control; did you mean diesel1?
    20 |   graph: [[batt1, diesel2]]
       |           ^""",
    ),
    "pair twice": (
        [(DELAY, DELAY + "  graph: [[batt1, diesel1], [diesel1, batt1]]\n")],
        """\
wrong.yaml:20:29: comms.graph.1: this pair is there already; a pair is a link in both directions
    20 |   graph: [[batt1, diesel1], [diesel1, batt1]]
       |                             ^""",
    ),
    "pair of one": (
        [(DELAY, DELAY + "  graph: [[batt1, batt1], [diesel1, batt1]]\n")],
        """\
wrong.yaml:20:11: comms.graph.0: batt1 need not talk to itself: name two different members
    20 |   graph: [[batt1, batt1], [diesel1, batt1]]
       |           ^""",
    ),
    "delay in another unit": (
        [(DELAY, "  delay_s: 0.05\n")],
        """\
wrong.yaml:19:3: comms.delay_s: unknown key; did you mean delay_ms? It is in ms, not in s
    19 |   delay_s: 0.05
       |   ^""",
    ),
    "jitter of no kind": (
        [("kind: uniform", "kind: gauss")],
        """\
wrong.yaml:20:12: comms.jitter.kind: must be 'none', 'uniform', 'normal', 'lognormal' or 'trace', got 'gauss'
    20 |   jitter: {kind: gauss, percent: 20}
       |            ^""",
    ),
    "jitter without its kind": (
        [("kind: uniform, ", "")],
        """\
wrong.yaml:20:3: comms.jitter: kind is missing
    20 |   jitter: {percent: 20}
       |   ^""",
    ),
    "jitter with two spreads": (
        [("percent: 20", "percent: 20, ms: 5")],
        """\
wrong.yaml:20:3: comms.jitter: jitter uniform needs either percent or ms
    20 |   jitter: {kind: uniform, percent: 20, ms: 5}
       |   ^""",
    ),
    "jitter without a spread": (
        [(", percent: 20", "")],
        """\
wrong.yaml:20:3: comms.jitter: jitter uniform needs either percent or ms
    20 |   jitter: {kind: uniform}
       |   ^""",
    ),
    "jitter wider than the delay": (
        [("percent: 20", "percent: 120")],
        """\
wrong.yaml:20:3: comms.jitter: jitter of +- 60 ms must be within delay_ms = 50
    20 |   jitter: {kind: uniform, percent: 120}
       |   ^""",
    ),
    "jitter wider than the delay of one link": (
        [("percent: 20", "ms: 20"), ("{delay_ms: 80}", "{delay_ms: 10}")],
        """\
wrong.yaml:21:11: comms.links.batt1->diesel1: jitter of +- 20 ms must be within delay_ms = 10
    21 |   links: {"batt1->diesel1": {delay_ms: 10}}
       |           ^""",
    ),
    "trace without its file": (
        [("{kind: uniform, percent: 20}", "{kind: trace, trace: dleays.txt}")],
        """\
wrong.yaml:20:25: comms.jitter.trace: there is no file dleays.txt; did you mean delays.txt?
    20 |   jitter: {kind: trace, trace: dleays.txt}
       |                         ^""",
    ),
    "trace of text": (
        [("{kind: uniform, percent: 20}", "{kind: trace, trace: own.py}")],
        """\
wrong.yaml:20:25: comms.jitter.trace: own.py must hold one number a line, milliseconds: could not convert string \
'NUMBER' to float64 at row 0, column 1.
    20 |   jitter: {kind: trace, trace: own.py}
       |                         ^""",
    ),
    "trace below zero": (
        [("{kind: uniform, percent: 20}", "{kind: trace, trace: [1, -1]}")],
        """\
wrong.yaml:20:25: comms.jitter.trace: must be a list of numbers [ms], each at least 0, or the name of a file of \
them, got [1, -1]
    20 |   jitter: {kind: trace, trace: [1, -1]}
       |                         ^""",
    ),
    "loss beyond all": (
        [(DELAY, DELAY + "  loss_percent: 120\n")],
        """\
wrong.yaml:20:3: comms.loss_percent: must be at most 100, got 120
    20 |   loss_percent: 120
       |   ^""",
    ),
    "burst that never changes": (
        [(DELAY, DELAY + "  burst: {good_to_bad_percent: 0, bad_to_good_percent: 0}\n")],
        """\
wrong.yaml:20:3: comms.burst: the link must be able to change
    20 |   burst: {good_to_bad_percent: 0, bad_to_good_percent: 0}
       |   ^""",
    ),
    "sent again for ever": (
        [(DELAY, DELAY + "  loss_percent: 100\n  rto_ms: 10\n")],
        """\
wrong.yaml:21:3: comms.rto_ms: a link that loses everything would send for ever
    21 |   rto_ms: 10
       |   ^""",
    ),
    "unknown link": (
        [('{"batt1->diesel1": {delay_ms: 80}}', '{"batt1->disel1": {delay_ms: 80}}')],
        """\
wrong.yaml:21:11: comms.links.batt1->disel1: there is no link 'batt1->disel1'; did you mean batt1->diesel1?
    21 |   links: {"batt1->disel1": {delay_ms: 80}}
       |           ^""",
    ),
    "unknown key of a link": (
        [('{"batt1->diesel1": {delay_ms: 80}}', '{"batt1->diesel1": {dealy_ms: 80}}')],
        """\
wrong.yaml:21:30: comms.links.batt1->diesel1.dealy_ms: unknown key; did you mean delay_ms?
    21 |   links: {"batt1->diesel1": {dealy_ms: 80}}
       |                              ^""",
    ),
    "signal without an arrow": (
        [('"batt1->pv1"', '"batt1"')],
        """\
wrong.yaml:22:13: comms.signals.batt1: a link's name is SENDER->RECEIVER, two different names without dots
    22 |   signals: {"batt1": {attr: "f[Hz]", to_attr: "f_meas[Hz]"}}
       |             ^""",
    ),
    "signal to no unit": (
        [('"batt1->pv1"', '"batt1->pv2"')],
        """\
wrong.yaml:22:13: comms.signals.batt1->pv2: there is no unit 'pv2'; did you mean pv1?
    22 |   signals: {"batt1->pv2": {attr: "f[Hz]", to_attr: "f_meas[Hz]"}}
       |             ^""",
    ),
    "signal from nowhere": (
        [('"batt1->pv1"', '"bat1->pv1"')],
        """\
wrong.yaml:22:13: comms.signals.bat1->pv1: there is no unit, meter, bus, line or load 'bat1'; did you mean batt1?
    22 |   signals: {"bat1->pv1": {attr: "f[Hz]", to_attr: "f_meas[Hz]"}}
       |             ^""",
    ),
    "signal of something that is not shown": (
        [('attr: "f[Hz]", ', 'attr: "frequency[Hz]", ')],
        """\
wrong.yaml:22:28: comms.signals.batt1->pv1.attr: batt1 does not show frequency[Hz]; known: E[pu], E_ac[MWh], \
E_conversion_loss[MWh], E_gen[MWh], P_gen[MW], P_set[MW], Q_gen[MVar], Va[deg], Va_emf[deg], Vm[pu], f[Hz], \
limited[1]
    22 |   signals: {"batt1->pv1": {attr: "frequency[Hz]", to_attr: "f_meas[Hz]"}}
       |                            ^""",
    ),
    "signal to no input": (
        [('"f_meas[Hz]"', '"f_mess[Hz]"')],
        """\
wrong.yaml:22:43: comms.signals.batt1->pv1.to_attr: pv1 has no input f_mess[Hz]; did you mean f_meas[Hz]?
    22 |   signals: {"batt1->pv1": {attr: "f[Hz]", to_attr: "f_mess[Hz]"}}
       |                                           ^""",
    ),
    "signal to another unit": (
        [('"f_meas[Hz]"', '"P_set[MW]"')],
        """\
wrong.yaml:22:43: comms.signals.batt1->pv1.to_attr: is in MW, and f[Hz] in Hz: both must be in one unit
    22 |   signals: {"batt1->pv1": {attr: "f[Hz]", to_attr: "P_set[MW]"}}
       |                                           ^""",
    ),
    "signal over a link of the control": (
        [
            (
                '"batt1->pv1": {attr: "f[Hz]", to_attr: "f_meas[Hz]"}',
                '"batt1->diesel1": {attr: "P_gen[MW]", to_attr: "P_set[MW]"}',
            ),
        ],
        """\
wrong.yaml:22:13: comms.signals.batt1->diesel1: is a link of the control already: send it from another entity
    22 |   signals: {"batt1->diesel1": {attr: "P_gen[MW]", to_attr: "P_set[MW]"}}
       |             ^""",
    ),
    "signal without to_attr": (
        [(', to_attr: "f_meas[Hz]"', "")],
        """\
wrong.yaml:22:13: comms.signals.batt1->pv1: to_attr is missing
    22 |   signals: {"batt1->pv1": {attr: "f[Hz]"}}
       |             ^""",
    ),
    "signal to what the source gives": (
        [('attr: "f[Hz]", to_attr: "f_meas[Hz]"', 'attr: "P_gen[MW]", to_attr: "P_avail[MW]"')],
        """\
wrong.yaml:22:47: comms.signals.batt1->pv1.to_attr: pv1 has its P_avail[MW] from its source already
    22 |   signals: {"batt1->pv1": {attr: "P_gen[MW]", to_attr: "P_avail[MW]"}}
       |                                               ^""",
    ),
    "comms of nobody": (
        [(CONTROL, ""), (MEMBERS, ""), (LEADER, ""), (SIGNALS, ""), (LINKS, ""), (DOWN, "")],
        """\
wrong.yaml:13:1: comms: nothing is sent: add `control:` to the scenario, or `signals:` here
    13 | comms:
       | ^""",
    ),
    "link that goes down and is not there": (
        [(SET, SET + '  - {t_s: 2, do: link_down, link: "diesel1->bat1"}\n')],
        """\
wrong.yaml:26:29: events.2.link: there is no link 'diesel1->bat1'; did you mean diesel1->batt1?
    26 |   - {t_s: 2, do: link_down, link: "diesel1->bat1"}
       |                             ^""",
    ),
    "link that goes up and is not there": (
        [(SET, SET + '  - {t_s: 2, do: link_up, link: "x*"}\n')],
        """\
wrong.yaml:26:27: events.2.link: there is no link 'x*'; known: batt1->diesel1, batt1->pv1, diesel1->batt1
    26 |   - {t_s: 2, do: link_up, link: "x*"}
       |                           ^""",
    ),
    "set of a link's unknown key": (
        [(SET, SET + "  - {t_s: 2, do: set, path: comms.dealy_ms, value: 3}\n")],
        """\
wrong.yaml:26:23: events.2.path: 'dealy_ms' of links cannot change during a run; did you mean delay_ms?
    26 |   - {t_s: 2, do: set, path: comms.dealy_ms, value: 3}
       |                       ^""",
    ),
    "set of an unknown link": (
        [(SET, SET + "  - {t_s: 2, do: set, path: comms.links.batt1->pv2.delay_ms, value: 3}\n")],
        """\
wrong.yaml:26:23: events.2.path: there is no link 'batt1->pv2'; did you mean batt1->pv1?
    26 |   - {t_s: 2, do: set, path: comms.links.batt1->pv2.delay_ms, value: 3}
       |                       ^""",
    ),
    "set of a link without its key": (
        [(SET, SET + "  - {t_s: 2, do: set, path: comms.links.batt1->pv1, value: 3}\n")],
        """\
wrong.yaml:26:23: events.2.path: must be comms.links.SENDER->RECEIVER.KEY, such as comms.links.a->b.delay_ms
    26 |   - {t_s: 2, do: set, path: comms.links.batt1->pv1, value: 3}
       |                       ^""",
    ),
    "set to what cannot be": (
        [(SET, SET + "  - {t_s: 2, do: set, path: comms.delay_ms, value: -3}\n")],
        """\
wrong.yaml:26:45: events.2.value: link batt1->diesel1: delay_ms = -3 must be >= 0; jitter of +- -0.6 ms must be \
within delay_ms = -3
    26 |   - {t_s: 2, do: set, path: comms.delay_ms, value: -3}
       |                                             ^""",
    ),
    "set of a spread to what cannot be": (
        [(SET, SET + "  - {t_s: 2, do: set, path: comms.jitter.percent, value: 300}\n")],
        """\
wrong.yaml:26:51: events.2.value: link batt1->diesel1: jitter of +- 300 ms must be within delay_ms = 100
    26 |   - {t_s: 2, do: set, path: comms.jitter.percent, value: 300}
       |                                                   ^""",
    ),
    "set of a part that is not there": (
        [(SET, SET + "  - {t_s: 2, do: set, path: comms.burst.loss_bad_percent, value: 30}\n")],
        """\
wrong.yaml:26:23: events.2.path: link batt1->diesel1 has no burst that could change: give it one
    26 |   - {t_s: 2, do: set, path: comms.burst.loss_bad_percent, value: 30}
       |                       ^""",
    ),
    "unknown agent": (
        [(SET, SET + "  - {t_s: 2, do: agent_fail, agent: batt2}\n")],
        """\
wrong.yaml:26:30: events.2.agent: there is no agent 'batt2'; did you mean batt1?
    26 |   - {t_s: 2, do: agent_fail, agent: batt2}
       |                              ^""",
    ),
    "agent without control": (
        [
            (CONTROL, ""),
            (MEMBERS, ""),
            (LEADER, ""),
            (LINKS, ""),
            (DOWN, "  - {t_s: 1, do: agent_fail, agent: batt1}\n"),
        ],
        """\
wrong.yaml:18:14: events.0.do: agent_fail needs agents: add `control:` or `market:` to the scenario
    18 |   - {t_s: 1, do: agent_fail, agent: batt1}
       |              ^""",
    ),
    "link event without comms": (
        [("comms:\n", ""), (DELAY, ""), (JITTER, ""), (LINKS, ""), (SIGNALS, ""), (SET, "")],
        """\
wrong.yaml:19:29: events.0.link: needs links: add `comms:` to the scenario
    19 |   - {t_s: 1, do: link_down, link: "batt1->diesel1", for_s: 0.5}
       |                             ^""",
    ),
    "several at once": (
        [
            ("law: F", "law: Q"),
            ("leader: batt1", "leader: bat1"),
            ("kind: uniform", "kind: gauss"),
            ('"batt1->pv1": {attr', '"batt1->pv2": {attr'),
            ("soc_init_percent: 60", "soc_init_percent: 95"),
            ('link: "batt1->diesel1"', 'lnk: "batt1->diesel1"'),
        ],
        """\
wrong.yaml has 6 problems
wrong.yaml:9:97: units.batt1.source.soc_init_percent: soc_init_percent = 95 must be between soc_min_percent and \
soc_max_percent
     9 |   batt1: {type: inverter, bus: 1, s_rated_kva: 1000, source: {type: battery, e_rated_kwh: 2000, \
soc_init_percent: 95}}
       |                                                                                                 ^
wrong.yaml:14:15: control.frequency.law: must be F, D, C, none, or MODULE:FUNCTION for a law of your own, got 'Q'
    14 |   frequency: {law: Q, limit_hz: 1}
       |               ^
wrong.yaml:17:3: control.leader: 'bat1' is no member; did you mean batt1?
    17 |   leader: bat1
       |   ^
wrong.yaml:20:12: comms.jitter.kind: must be 'none', 'uniform', 'normal', 'lognormal' or 'trace', got 'gauss'
    20 |   jitter: {kind: gauss, percent: 20}
       |            ^
wrong.yaml:22:13: comms.signals.batt1->pv2: there is no unit 'pv2'; did you mean pv1?
    22 |   signals: {"batt1->pv2": {attr: "f[Hz]", to_attr: "f_meas[Hz]"}}
       |             ^
wrong.yaml:24:29: events.0.lnk: unknown key; did you mean link?
    24 |   - {t_s: 1, do: link_down, lnk: "batt1->diesel1", for_s: 0.5}
       |                             ^""",
    ),
    "pilot bus that is not there": (
        [("leader: batt1\n", "leader: batt1\n  pilot_bus: 12\n")],
        """\
wrong.yaml:18:3: control.pilot_bus: case9 has no bus '12'; did you mean 2?
    18 |   pilot_bus: 12
       |   ^""",
    ),
    "controller with the name of a bus": (
        [("law: F", "law: C"), ("leader: batt1\n", "leader: batt1\n  central: [5]\n")],
        """\
wrong.yaml:18:13: control.central.0: '5' is the name of a bus, line or load already
    18 |   central: [5]
       |             ^""",
    ),
    "controller twice": (
        [("law: F", "law: C"), ("leader: batt1\n", "leader: batt1\n  central: [mgcc, mgcc]\n")],
        """\
wrong.yaml:18:19: control.central.1: mgcc is there already
    18 |   central: [mgcc, mgcc]
       |                   ^""",
    ),
    "member of a type that follows no agent": (
        [
            (
                "  diesel1: {type: diesel, bus: 2, s_rated_kva: 2000}",
                "  diesel1: {type: machine, bus: 2, s_rated_kva: 2000}",
            ),
        ],
        """\
wrong.yaml has 3 problems
wrong.yaml:10:3: units.diesel1: h_s is missing
    10 |   diesel1: {type: machine, bus: 2, s_rated_kva: 2000}
       |   ^
wrong.yaml:10:3: units.diesel1: x_pu is missing
    10 |   diesel1: {type: machine, bus: 2, s_rated_kva: 2000}
       |   ^
wrong.yaml:16:20: control.members.1: diesel1 cannot follow an agent: type machine has no input Omega[rad_per_s] and \
v[pu]
    16 |   members: [batt1, diesel1]
       |                    ^""",
    ),
    "member that is a profile": (
        [
            (
                "  diesel1: {type: diesel, bus: 2, s_rated_kva: 2000}",
                DIESEL + "  home: {type: profile, bus: 5, p_load: 3}",
            ),
            ("[batt1, diesel1]", "[batt1, diesel1, home]"),
        ],
        """\
wrong.yaml:17:29: control.members.2: home is a unit of type profile: members form the grid, as droop inverters and \
diesel sets do
    17 |   members: [batt1, diesel1, home]
       |                             ^""",
    ),
    "delay in ms that is text": (
        [(DELAY, "  delay_ms: 50 ms\n")],
        """\
wrong.yaml:19:3: comms.delay_ms: must be a number, got '50 ms'; write 50 alone, the unit is in the key
    19 |   delay_ms: 50 ms
       |   ^""",
    ),
    "period of a signal that cannot be": (
        [('to_attr: "f_meas[Hz]"', 'to_attr: "f_meas[Hz]", period_ms: 0.0001')],
        """\
wrong.yaml:22:66: comms.signals.batt1->pv1.period_ms: must be a multiple of 0.001 ms, got 0.0001
    22 |   signals: {"batt1->pv1": {attr: "f[Hz]", to_attr: "f_meas[Hz]", period_ms: 0.0001}}
       |                                                                  ^""",
    ),
    "kick in another unit": (
        [(SET, SET + "  - {t_s: 2, do: agent_kick, agent: batt1, omega_hz: 1}\n")],
        """\
wrong.yaml:26:44: events.2.omega_hz: unknown key; known: agent, do, omega_rad_per_s, t_s, v_pu
    26 |   - {t_s: 2, do: agent_kick, agent: batt1, omega_hz: 1}
       |                                            ^""",
    ),
    "set of a link that has another spread": (
        [
            ("{delay_ms: 80}", "{delay_ms: 80, jitter: {kind: none}}"),
            (SET, SET + "  - {t_s: 1.8, do: set, path: comms.links.batt1->diesel1.jitter.percent, value: 3}\n"),
        ],
        """\
wrong.yaml:26:74: events.2.value: link batt1->diesel1: jitter none takes neither percent nor ms
    26 |   - {t_s: 1.8, do: set, path: comms.links.batt1->diesel1.jitter.percent, value: 3}
       |                                                                          ^""",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_file(changes: list[Change], message: str) -> None:
    expected = message if message.startswith("wrong.yaml has ") else f"wrong.yaml has 1 problem\n{message}"
    assert answer(changed(RIGHT, changes)) == expected
