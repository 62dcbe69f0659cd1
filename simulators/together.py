"""Several device simulators that mosaik sees as one, with the same entities and results in less time.

A step of any simulator costs mosaik about as much as the models of all units; units that step at the same times
need it once.
"""

from collections.abc import Mapping
from typing import Any

import mosaik_api_v3

from gridloop.simulators.device import DeviceSimulator, check_names


class Together(mosaik_api_v3.Simulator):
    """Device simulators with the same macro step and extra ticks.

    Args:
        parts: by the names that they have in messages, as if each stood in mosaik by itself.

    Raises:
        ValueError: two of them have a model of the same name.
    """

    def __init__(self, parts: Mapping[str, DeviceSimulator]) -> None:
        self._parts = parts
        self._part_of_model: dict[str, str] = {}
        for name, part in parts.items():
            for model in part.meta["models"]:
                other = self._part_of_model.setdefault(model, name)
                if other != name:
                    raise ValueError(f"{other} and {name} both have a model {model}; one simulator has it once")
        models = {model: parts[name].meta["models"][model] for model, name in self._part_of_model.items()}
        super().__init__(  # type: ignore[no-untyped-call]
            {"api_version": "3.0", "type": "time-based", "models": models}
        )
        self._part_of: dict[str, str] = {}  # entity -> name of its part

    def init(self, sid: str, time_resolution: float = 1.0, **sim_params: Any) -> Any:
        """Set up every part; each parameter is named for a part and holds that part's own parameters."""
        for name, part in self._parts.items():
            part.init(name, time_resolution, **sim_params[name])
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:
        """Create a group in the part that has the model, see there."""
        name = self._part_of_model[model]
        created = self._parts[name].create(num, model, **model_params)
        names = [entity["eid"] for group in created for entity in (group, *group["children"])]
        check_names(names, self._part_of)
        self._part_of |= dict.fromkeys(names, name)
        return created

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Advance every part on the inputs of its own entities and return the next tick."""
        given = self._by_part(inputs)
        return min([part.step(time, given[name], max_advance) for name, part in self._parts.items()])

    def get_data(self, outputs: Any) -> Any:
        """What every part shows as of the last step."""
        asked, data = self._by_part(outputs), {}
        for name, part in self._parts.items():
            data.update(part.get_data(asked[name]))
        return data

    def _by_part(self, entities: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """What is told of entities, apart for each part."""
        parts: dict[str, dict[str, Any]] = {name: {} for name in self._parts}
        for eid, told in entities.items():
            parts[self._part_of[eid]][eid] = told
        return parts
