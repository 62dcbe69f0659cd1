"""The error that ends a run by name: simulator, entity, simulated time."""


class SimulatorFailure(RuntimeError):
    """A simulator failed in mid-run.

    Not a TypeError whatever its cause: mosaik would report a TypeError in a step with arrays as a problem of
    their serialisation.
    """

    def __init__(self, simulator: str, entity: str, t_s: float, cause: BaseException) -> None:
        kind = "" if isinstance(cause, (ValueError, ArithmeticError)) else f"{type(cause).__name__}: "
        super().__init__(f"{simulator}.{entity} at t = {t_s:.6g} s: {kind}{cause}")
        self.simulator, self.entity, self.t_s = simulator, entity, t_s
