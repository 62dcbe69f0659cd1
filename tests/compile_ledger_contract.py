"""Compile the ledger's contract anew, after a change of its source: needs vyper 0.4.3.

python tests/compile_ledger_contract.py
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "simulators" / "market"
SOURCE, COMPILED = FOLDER / "ledger_contract.vy", FOLDER / "ledger_contract.json"


def compiled() -> dict[str, Any]:
    """What ships beside the source."""
    import vyper

    formats = ["abi", "bytecode", "bytecode_runtime"]
    found = vyper.compile_code(SOURCE.read_text(encoding="utf-8"), output_formats=formats)
    return {"compiler": f"vyper {vyper.__version__}", **{name: found[name] for name in formats}}


if __name__ == "__main__":
    COMPILED.write_text(json.dumps(compiled(), separators=(",", ":")) + "\n", encoding="utf-8")
