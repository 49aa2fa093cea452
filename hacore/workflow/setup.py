"""The model of a spec, and its data as that model reads them."""

from __future__ import annotations

from typing import Any

import torch

from hacore.data import Dataset
from hacore.errors import HacoreError
from hacore.model.compose import compose, label
from hacore.model.network import VQAModel
from hacore.model.stored import with_features
from hacore.spec import Spec


def set_up(spec: Spec, dataset: Dataset[Any]) -> tuple[VQAModel, Dataset[Any]]:
    """The model, its random start given by the seed, and the dataset, with stored features if asked for.

    Raises HacoreError where they do not go together.
    """
    torch.manual_seed(spec.seed)
    model = compose(spec, dataset.sizes())
    require_objects(model, dataset, spec, spec.eval.final_split)
    return model, with_features(dataset, spec, model)


def require_objects(model: VQAModel, dataset: Dataset[Any], spec: Spec, split: str) -> None:
    """HacoreError for an oracle where the split does not know what its questions are about."""
    if model.oracle and dataset.objects(split) is None:
        raise HacoreError(
            f"{label('dataset', spec.data)} does not know which objects a question is about, which an oracle "
            f"looks at: {label('selector', spec.selector)}, {label('aggregator', spec.aggregator)}; choose "
            "others, or data that know"
        )
