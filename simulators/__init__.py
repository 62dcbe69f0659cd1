"""The mosaik simulators: each wraps pure models and derives its META from their ports.

`SIM_CONFIG` starts them in a mosaik scenario of your own; `python -m gridloop.simulators --help` in other processes.
"""

from typing import Any

SIM_CONFIG: dict[str, Any] = {
    "Grid": {"python": "gridloop.simulators.standalone:Grid"},
    "Inverter": {"python": "gridloop.simulators.standalone:Inverter"},
    "Following": {"python": "gridloop.simulators.standalone:Following"},
    "Diesel": {"python": "gridloop.simulators.standalone:Diesel"},
    "Machine": {"python": "gridloop.simulators.standalone:Machine"},
    "Battery": {"python": "gridloop.simulators.standalone:Battery"},
    "CoulombBattery": {"python": "gridloop.simulators.standalone:CoulombBattery"},
    "PV": {"python": "gridloop.simulators.standalone:PV"},
    "Profile": {"python": "gridloop.simulators.profiles:ProfileSimulator"},
    "Comms": {"python": "gridloop.simulators.comms:CommSimulator"},
    "Secondary": {"python": "gridloop.simulators.control:SecondarySimulator"},
    "Meter": {"python": "gridloop.simulators.meter:MeterSimulator"},
    "Recorder": {"python": "gridloop.simulators.tap:Recorder"},
}
