"""One network with classical machines in ANDES, for `peers.py`; runs in ANDES' own virtual environment.

ANDES is GPL-3: gridloop never imports it, and this script imports nothing of gridloop. A case arrives as one line of
JSON on the standard input for every run, its answer is one line on the standard output: processor seconds of the
integration, and time and frequencies [Hz] of the machines.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in run.py

import contextlib
import json
import sys
import time
from typing import Any

import andes


def system(case: dict[str, Any]) -> Any:
    """The case, its power flow solved; all figures in pu on its base, a machine also stands for a static generator."""
    found = andes.System(no_output=True, default_config=True)
    found.config.freq = case["f_nom_hz"]
    base = {"Sn": case["s_base_mva"], "Vn": case["v_base_kv"]}
    for bus in case["buses"]:
        found.add("Bus", {"idx": bus, "name": bus, "Vn": case["v_base_kv"]})
    for line in case["lines"]:
        ends = {"bus1": line["from"], "bus2": line["to"], "Vn1": case["v_base_kv"], "Vn2": case["v_base_kv"]}
        idx = f"{line['from']}-{line['to']}"
        found.add("Line", {"idx": idx, "Sn": base["Sn"], **ends, **{key: line[key] for key in ("r", "x", "b")}})
    for load in case["loads"]:
        idx = f"load{load['bus']}"
        found.add("PQ", {"idx": idx, "bus": load["bus"], "Vn": base["Vn"], "p0": load["p"], "q0": load["q"]})
    for i, machine in enumerate(case["machines"]):
        idx, bus = f"g{i}", machine["bus"]
        static = {"idx": idx, "bus": bus, **base, "p0": machine["p"], "v0": machine["v"]}
        found.add("PV" if i else "Slack", static)
        rotor = {"M": 2 * machine["h_s"], "D": machine["damping"], "xd1": machine["x"], "fn": case["f_nom_hz"]}
        found.add("GENCLS", {"idx": f"m{i}", "bus": bus, "gen": idx, **base, **rotor})
    for event in case["events"]:
        if event["do"] == "load_step":
            for src, amount in (("Ppf", event["p"]), ("Qpf", event["q"])):
                change = {"model": "PQ", "dev": f"load{event['bus']}", "src": src, "attr": "v"}
                found.add("Alter", {**change, "t": event["t_s"], "method": "+", "amount": amount})
        else:
            found.add("Toggle", {"model": "Line", "dev": event["line"], "t": event["t_s"]})
    found.setup()
    for key, share in (("p2p", 1), ("p2i", 0), ("p2z", 0), ("q2q", 1), ("q2i", 0), ("q2z", 0)):  # constant power
        setattr(found.PQ.config, key, share)
    found.PFlow.config.tol = 1e-10
    found.PFlow.run()
    return found


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Integrate the case by the trapezoidal rule at its fixed step."""
    found = system(case)
    settings = found.TDS.config
    settings.fixt, settings.tstep, settings.tf, settings.no_tqdm = 1, case["step_s"], case["until_s"], 1
    settings.shrinkt, settings.criteria = 0, 0  # no other step, and no stop when angles part
    found.TDS.init()
    began = time.process_time()
    if not found.TDS.run():
        raise RuntimeError("ANDES did not come to the end")
    took_s = time.process_time() - began
    omega = found.dae.ts.x[:, found.GENCLS.omega.a]
    f_hz = case["f_nom_hz"] * omega
    return {"took_s": took_s, "t_s": found.dae.ts.t.tolist(), "f_hz": f_hz.tolist(), "version": andes.__version__}


def main() -> None:
    """Answer cases until the input ends."""
    andes.config_logger(stream_level=40)
    replies = sys.stdout
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):  # what ANDES prints is no answer
            reply = answer(json.loads(line))
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
