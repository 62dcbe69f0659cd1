"""The commands `market ledger`: verify, show, prove and export what a market recorded."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridloop.scenarios.console import EXIT, AsJson, Debug, err, line, out, plural, show_table, user_errors

if TYPE_CHECKING:
    from gridloop.simulators.market.ledger import Head
    from gridloop.simulators.market.ledger_embedded import EmbeddedLedger

MILLIONTHS = 1e6
SHORT = 8  # digits of an address, where people read it

ledger = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, name="ledger",
    help="What a market recorded: verify, show, proof, export.",
)  # fmt: skip

File = Annotated[Path, typer.Argument(help="A ledger's file.", show_default=False)]
Anchor = Annotated[
    str,
    typer.Option("--anchor", metavar="NUMBER:HASH", show_default=False,
                 help="A block that you remember: shows that none was taken back since."),
]  # fmt: skip


@ledger.command()
def verify(file: File, anchor: Anchor = "", as_json: AsJson = False, debug: Debug = False) -> None:
    """Check every byte: hashes, signatures, quorums, rules. Exit code 1 if something does not hold."""
    with user_errors(debug), _opened(file, anchor, as_json, debug) as opened:
        found = opened.closed
        if as_json:
            print(json.dumps({"verified": True, "blocks": found.blocks, "transactions": found.txs,
                              "head": _text(found.head), "anchored": bool(anchor)}))  # fmt: skip
        else:
            line(out, "verified", f"{plural(found.blocks, 'block')}, {plural(found.txs, 'transaction')}", "green")
            line(out, "head", _text(found.head))
            if not anchor:
                line(out, "note", "keep this head: --anchor then shows that no block was taken back")


@ledger.command()
def show(file: File, as_json: AsJson = False, debug: Debug = False) -> None:
    """Members with their balances, and every trade with what became of it."""
    with user_errors(debug), _opened(file, "", as_json, debug) as opened:
        members, trades = _members(opened), _trades(opened)
        if as_json:
            print(json.dumps({"head": _text(opened.head), "members": members, "trades": trades}))
            return
        line(out, "ledger", f"{plural(opened.head.number, 'block')}, slots of {opened.state.slot_s} s")
        show_table([
            {"member": one["member"], "roles": one["roles"], "validator": one["validator"],
             "balance": f"{one['balance']:,.6f}", "address": one["address"][:SHORT]}
            for one in members
        ])  # fmt: skip
        if trades:
            show_table([
                {**{key: one[key] for key in ("match", "slot", "seller", "buyer", "w")},
                 "price_per_kwh": f"{one['price_per_kwh']:g}", "settled_w": one["settled_w"], "status": one["status"]}
                for one in trades
            ])  # fmt: skip
        else:
            line(out, "trades", "none")


@ledger.command()
def proof(
    file: File, id: Annotated[str, typer.Argument(help="Of the transaction: 16 hexadecimal digits.")],
    as_json: AsJson = False, debug: Debug = False,
) -> None:  # fmt: skip
    """Show that a transaction is in a block that the validators signed; with --json for someone who has only that."""
    with user_errors(debug), _opened(file, "", as_json, debug) as opened:
        from gridloop.simulators.market.ledger import LedgerError

        try:
            found = opened.proof(id)
        except LedgerError as error:
            raise ValueError(f"{file}: {error}") from error
        if as_json:
            print(json.dumps({"tx": found.tx.content, "index": found.index, "count": found.count, "path": found.path,
                              "header": found.header, "commit": found.commit}))  # fmt: skip
            return
        header, tx = found.header, found.tx
        line(out, tx.kind, "  ".join(f"{key} {value}" for key, value in tx.body.items()))
        line(out, "by", f"{_names(opened)[tx.sender]}, its number {tx.nonce}")
        line(out, "in", f"block {header['number']} of t = {header['timestamp']} s, entry {found.index + 1} "
                        f"of {found.count}")  # fmt: skip
        line(out, "root", str(header["merkle"]))
        for hash in found.path:
            line(out, "beside", hash)
        line(out, "signed by", ", ".join(sorted(_names(opened)[one] for one in found.commit)), "green")


@ledger.command()
def export(
    file: File,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", show_default=False,
                     help="A .csv file of the trades, or a .json file of all blocks; FILE.csv if absent."),
    ] = None,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Write the trades, or everything, for other programs."""
    with user_errors(debug), _opened(file, "", False, debug) as opened:
        target = out_file or file.with_name(file.name + ".csv")
        if target.suffix == ".json":
            blocks = [
                {"header": one.header, "txs": [tx.content for tx in one.txs], "commit": one.commit, "hash": one.hash}
                for one in opened.blocks()
            ]
            target.write_text(json.dumps({"members": _members(opened), "blocks": blocks}) + "\n", encoding="utf-8")
        elif target.suffix == ".csv":
            with target.open("w", newline="", encoding="utf-8") as text:
                rows = csv.DictWriter(text, TRADE_COLUMNS)
                rows.writeheader()
                rows.writerows(_trades(opened))
        else:
            raise ValueError(f"{target}: write to a .csv or a .json file")
        print(target)


TRADE_COLUMNS = (
    "match", "slot", "seller", "buyer", "from_bus", "to_bus", "w", "price_per_kwh", "loading_percent", "loss_w",
    "status", "settled_w",
)  # fmt: skip


@contextmanager
def _opened(file: Path, anchor: str, as_json: bool, debug: bool) -> "Iterator[EmbeddedLedger]":
    """The ledger in a file, verified; ends with exit code 1 if it is not in order."""
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise ValueError("the ledger needs the package cryptography: pip install 'gridloop[ledger]'") from error
    from gridloop.simulators.market.ledger import LedgerError
    from gridloop.simulators.market.ledger_embedded import EmbeddedLedger

    head = _head(anchor) if anchor else None
    try:
        opened = EmbeddedLedger.open(file, anchor=head, read_only=True)
    except LedgerError as error:
        if debug:
            raise
        if as_json:
            print(json.dumps({"verified": False, "finding": str(error)}))
        line(err, "NOT IN ORDER", f"{file}: {error}", "red")
        raise typer.Exit(EXIT["failed"]) from error
    try:
        yield opened
    finally:
        opened.close()


def _members(opened: "EmbeddedLedger") -> list[dict[str, Any]]:
    state = opened.state
    return [
        {"member": member.name, "roles": " ".join(member.roles), "validator": address in state.validators,
         "balance": state.balances.get(address, 0) / MILLIONTHS, "address": address}
        for address, member in state.members.items()
    ]  # fmt: skip


def _trades(opened: "EmbeddedLedger") -> list[dict[str, Any]]:
    state, names = opened.state, _names(opened)
    rows = []
    for id, match in state.matches.items():
        sell, buy = state.proposals[match.sell], state.proposals[match.buy]
        values = (
            id, sell.slot, names[sell.owner], names[buy.owner], sell.bus, buy.bus, match.w, match.price / MILLIONTHS,
            match.loading_ppm / 1e4, match.loss_w, match.status, match.settled_w,
        )  # fmt: skip
        rows.append(dict(zip(TRADE_COLUMNS, values, strict=True)))
    return rows


def _names(opened: "EmbeddedLedger") -> dict[str, str]:
    """Names by address, also of members that have left: of those the first digits of the address."""
    state = opened.state
    left = {address: address[:SHORT] for address in state.nonces}
    return left | {address: member.name for address, member in state.members.items()}


def _head(text: str) -> "Head":
    from gridloop.simulators.market.ledger import Head

    number, _, hash = text.partition(":")
    if not number.isdecimal() or not hash:
        raise ValueError(f"--anchor {text}: write NUMBER:HASH, as `market ledger verify` prints it")
    return Head(int(number), hash)


def _text(head: "Head") -> str:
    return f"{head.number}:{head.hash}"
