"""Two SunSpec devices, one with the models of the 700s and one with the older ones, and how to talk to them."""

from typing import Any

from gridloop.hil.sunspec import Scan

COMMON: dict[int, dict[str, Any]] = {1: {"Mn": "Acme", "Md": "Sun 10", "Vr": "1.2", "SN": "4711"}}
NEW = COMMON | {
    701: {"W_SF": 1, "W": 4200, "Var": -300, "Hz_SF": -3, "Hz": 50.012, "V_SF": -1, "LLV": 404.0, "ConnSt": 1,
          "Alrm": 0, "InvSt": 3},
    702: {"W_SF": 1, "WMax": 10_000, "WChaRteMax": 8_000, "VNom": 400, "VarMaxInj": 5_000},
    704: {"WSet": 0, "WSetRvrt": 0, "WSetRvrtTms": 0, "WSetEna": 0, "WSetEnaRvrt": 0, "WSetMod": 0,
          "VarSet": 0, "VarSetEna": 0, "VarSetMod": 0, "VarSetRvrtTms": 0, "WSet_SF": 1},
    705: {"Ena": 0, "Crv[0].Pt[0].V": 0.92, "Crv[0].Pt[1].V": 1.08, "Crv[1].Pt[1].Var": 30, "V_SF": -2},
    711: {"Ena": 1, "K_SF": -2, "Db_SF": -3, "Ctl[0].KOf": 0.05, "Ctl[0].DbOf": 0.036, "Ctl[1].KOf": 0.04},
    713: {"SoC": 55.5, "Pct_SF": -1},
    715: {"DERHb": 3, "ControllerHb": 0},
}  # fmt: skip
OLD = COMMON | {
    103: {"W_SF": 1, "W": 4200, "VAr": -300, "VAr_SF": 1, "Hz_SF": -2, "Hz": 50.01, "V_SF": -1, "PPVphAB": 404, "St": 4,
          "Evt1": 0},
    121: {"WMax": 10_000, "WMax_SF": 1, "VRef": 400},
    123: {"WMaxLimPct": 100, "WMaxLimPct_SF": -1, "WMaxLimPct_RvrtTms": 0, "WMaxLim_Ena": 0, "VArWMaxPct": 0,
          "VArPct_SF": -2, "VArPct_RvrtTms": 0, "VArPct_Mod": 0, "VArPct_Ena": 0},
    124: {"ChaState": 61, "ChaState_SF": 0},
}  # fmt: skip


class Registers(dict):
    """A device: registers by address; what it does not have is refused, as is more than 125 at once."""

    def __init__(self, registers, base=40000):
        super().__init__(enumerate(registers, base))
        self.requests = []

    def ask(self, address, count):
        self.requests.append((address, count))
        if count > 125 or any(at not in self for at in range(address, address + count)):
            return None
        return [self[at] for at in range(address, address + count)]


def scanned(device, **options):
    scan = Scan(**options)
    while scan.request is not None:
        scan.answer(device.ask(*scan.request))
    return scan.device()


def read(device, map):
    values = dict[str, float]()
    for block in map.reads():
        assert block.count <= 125
        values |= block.values(device.ask(block.address, block.count))
    return values


def write(device, map, values):
    for block in map.writes(list(values)):
        words, _ = block.registers(values)
        for at, word in enumerate(words, block.address):
            device[at] = word
