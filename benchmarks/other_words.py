r"""A trained model in the words of other data: a run for ``train.init`` to start from.

    python benchmarks/other_words.py runs/clevr_han_mac experiments/clevr/han_mac_words.toml \
        --output runs/clevr_han_mac_words_start
    hacore run experiments/clevr/han_mac_words.toml       # whose train.init that is

``train.init`` leaves a question encoder out whose words are not those of the data. Here the vectors of words
that both have come along, whatever their numbers; a word that only the new data have begins with the vector
of a fresh model. All else is the run's. The answers must be the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import attrs
import numpy as np
import torch
from torch import nn

import hacore
from hacore.errors import HacoreError, RunError
from hacore.machine.commands import pasteable
from hacore.machine.files import save_tensors
from hacore.model.compose import compose
from hacore.model.network import VQAModel
from hacore.model.opening import open_dataset
from hacore.model.weights import load_model
from hacore.runs import RunFolder
from hacore.runs.data_summary import DataSummary
from hacore.runs.environment import describe_environment
from hacore.runs.trained import Trained
from hacore.spec import Spec, load_spec
from hacore.train.checkpoint import Position


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a run folder, or one of runs")
    parser.add_argument("spec", type=Path, help="of the training that is to start from it")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--output", type=Path, required=True, help="the run folder to make")
    given = parser.parse_args(arguments)
    try:
        spec = load_spec(given.spec, [*given.overrides, "train.init=none"])
        shared = make_run(hacore.load(given.run, device="cpu"), spec, given.output)
    except HacoreError as error:
        sys.exit(f"other_words: {error}")
    print(f"{shared} words have the vectors of {given.run}")
    print(f"next: {pasteable('hacore', 'run', given.spec, f'train.init={given.output}')}")


def make_run(trained: Trained, spec: Spec, target: Path) -> int:
    """Writes a run folder with a checkpoint and no result; how many words both have.

    Raises RunError for other answers, where the spec's model is another one, and for a folder that exists.
    """
    if target.exists():
        raise RunError(f"{target}: exists; give another folder with --output")
    dataset = open_dataset(spec.data)
    summary = DataSummary.of(dataset)
    theirs = DataSummary.read(trained.folder.inputs_file)
    if theirs.answers != summary.answers:
        raise RunError(f"{trained.folder.path}: its answers are others than those of the spec's data")
    torch.manual_seed(spec.seed)
    model = compose(spec, dataset.sizes())
    weights = {**trained.model.state_dict()}
    _, rows, from_rows = np.intersect1d(summary.vocabulary, theirs.vocabulary, return_indices=True)
    for name, vectors in _word_vectors(model).items():
        if name not in weights or weights[name].shape[1:] != vectors.shape[1:]:
            raise RunError(
                f"{trained.folder.path}: has no word vectors {name} of {vectors.shape[1]} channels"
            )
        vectors[rows] = weights[name][from_rows]
        weights[name] = vectors
    tensors = {f"model.{name}": tensor for name, tensor in weights.items()}
    load_model(trained.folder.path, tensors, model)  # says what does not fit
    folder = RunFolder.create(spec, target.parent, describe_environment(spec, torch.device("cpu"), 1))
    summary.write(folder.inputs_file)
    save_tensors(folder.best, tensors, attrs.asdict(Position(precision="float32")))
    os.rename(folder.path, target)
    return len(rows)


def _word_vectors(model: VQAModel) -> dict[str, torch.Tensor]:
    """Copies of the embeddings of a model's question encoder, by their names in the model."""
    modules = model.question_encoder.named_modules(prefix="question_encoder")
    return {
        f"{name}.weight": module.weight.detach().clone()
        for name, module in modules
        if isinstance(module, nn.Embedding)
    }


if __name__ == "__main__":
    main()
