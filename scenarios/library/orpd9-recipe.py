"""Recipe of the network of `orpd9`: IEEE 9-bus with block transformers, and 200 Mvar at bus 9.

    python scenarios/library/orpd9-recipe.py

writes orpd9-net.json beside this file. It is `gridloop.simulators.market.orpd9` without the compensator, which is a
unit of the scenario.
"""

from pathlib import Path


def write_net(folder: Path) -> None:
    """The net, every generator at 1 pu, taps at 1."""
    import pandapower

    from gridloop.simulators.market.orpd9 import orpd9

    net = orpd9(svc_mvar=None)
    net.std_types = {kind: {} for kind in net.std_types}  # most of the file, and of no use here
    pandapower.to_json(net, str(folder / "orpd9-net.json"))


if __name__ == "__main__":
    write_net(Path(__file__).parent)
