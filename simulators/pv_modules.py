"""Photovoltaic modules by their names in the CEC table that pvlib ships."""

from difflib import get_close_matches

from gridloop.simulators.models.pv import Module


def pv_module(name: str) -> Module:
    """The parameters of a module.

    Args:
        name: as in the table, or as pvlib writes it, e.g. `SunPower_SPR_305E_WHT_D`.

    Raises:
        ValueError: there is no such module.
    """
    import pvlib.pvsystem

    table = pvlib.pvsystem.retrieve_sam("CECMod")
    key = "".join(character if character.isalnum() else "_" for character in name)
    if key not in table:
        close = get_close_matches(key, table.columns, n=1)
        hint = f"; did you mean {close[0]}?" if close else f"; the CEC table has {table.shape[1]} modules"
        raise ValueError(f"there is no module {name!r}{hint}")
    column = table[key]
    return Module(*(float(column[field]) for field in (
        "I_L_ref", "I_o_ref", "R_s", "R_sh_ref", "a_ref", "Adjust", "alpha_sc", "T_NOCT",
    )))  # fmt: skip
