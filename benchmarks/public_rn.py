"""A run of experiments/clevr/rn.toml from the weights of a public Relation Network, to be measured.

    python benchmarks/public_rn.py original_fp_epoch_493.pth
    hacore eval RUN data.root=data/CLEVR_v1.0       # RUN: the folder that it names

The weights are those of https://github.com/mesnico/RelationNetworks-CLEVR ("original_fp"): the network of
Santoro et al. 2017, trained on the training split of CLEVR v1.0, with 93.6% of the questions of val right. A
run of theirs that is measured by hacore checks its reader, its model and its metric at once against that
number; only the pictures are reduced by another filter, see docs/results.md.

What is theirs and written otherwise: a convolution's bias, which a norm that follows takes away, goes into
the norm's mean. Pictures are values from 0 to 1, not normalised by the data. The question mark is a word,
which the reversed question begins with: its vector is the encoder's ``start``. Words and answers are numbered
in the order of their first use in the training questions, here by their names; a word that they do not know
has a vector of zeros.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs
import torch
from hacore_clevr.domain import ANSWERS
from hacore_clevr.words import build_vocabulary, split_words
from hacore_resnet.weights import read
from torch import Tensor

from hacore.errors import DataError, HacoreError
from hacore.machine.commands import pasteable
from hacore.machine.files import save_tensors
from hacore.model.compose import compose
from hacore.model.weights import load_model
from hacore.runs import RunFolder
from hacore.runs.data_summary import DataSummary
from hacore.runs.environment import describe_environment
from hacore.spec import Spec, load_spec
from hacore.train.checkpoint import Position

SPEC = Path(__file__).resolve().parents[1] / "experiments" / "clevr" / "rn.toml"

_WORDS = """
are there more big green things than large purple shiny cubes ? how many other of the same shape as tiny cyan
matte object is color sphere cube what material that right brown cylinder and left gray on side small rubber
behind thing to metallic size any have block blue yellow a ; it ball its in front does number red spheres made
metal cylinders both balls or blocks objects visible another has greater fewer less either anything else do an
equal
"""
THEIR_WORDS = tuple(_WORDS.split())
"""By their number, from 1; 0 is padding."""

_ANSWERS = """
yes 2 no rubber large 0 sphere gray cube blue brown 1 yellow purple cylinder small green metal 3 4 cyan 6 red
5 8 7 9 10
"""
THEIR_ANSWERS = tuple(_ANSWERS.split())
"""By their number, from 0."""

VOCABULARY = build_vocabulary(word for word in THEIR_WORDS if split_words(word))
"""As the dataset has it for CLEVR v1.0."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, help="original_fp_epoch_493.pth, or another of this network")
    parser.add_argument("--runs", default="runs", help="folder that holds run folders")
    options = parser.parse_args(arguments)
    try:
        folder = make_run(options.weights, options.runs)
    except HacoreError as error:
        sys.exit(str(error))
    print(f"made {folder.path}; measure it with: {pasteable('hacore', 'eval', folder.path)} data.root=DIR")


def make_run(weights: Path, runs: str | Path) -> RunFolder:
    """The run folder. DataError or RunError for a file that is not of this network."""
    public = {name.removeprefix("module."): tensor for name, tensor in read(str(weights)).items()}
    spec = load_spec(SPEC)
    tensors = {f"model.{name}": tensor for name, tensor in converted(public, spec, weights).items()}
    summary = DataSummary(
        vocabulary=VOCABULARY,
        answers=ANSWERS,
        image_size=(3, *spec.data.options.size),
        image_mean=(0.0, 0.0, 0.0),
        image_std=(1.0, 1.0, 1.0),
        word_vectors=0,
        fingerprint=f"public-{hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}",
    )
    load_model(weights, tensors, compose(spec, summary.sizes()))  # says what does not fit
    folder = RunFolder.create(spec, runs, describe_environment(spec, torch.device("cpu"), 1))
    summary.write(folder.inputs_file)
    save_tensors(folder.best, tensors, attrs.asdict(Position(precision="float32")))
    return folder


def converted(public: Mapping[str, Tensor], spec: Spec, weights: Path) -> dict[str, Tensor]:
    """hacore's tensors by their names, from the public network's by theirs, without "module."."""
    state: dict[str, Tensor] = {
        "image_encoder.image_mean": torch.zeros(1, 3, 1, 1),
        "image_encoder.image_std": torch.ones(1, 3, 1, 1),
    }
    try:
        for number in range(len(spec.image_encoder.options.channels)):
            state |= _convolution(public, number)
        vectors_WC = public["text.wembedding.weight"]
        words, answers = len(vectors_WC) - 1, len(public["rl.f_fc3.bias"])
        if (words, answers) != (len(THEIR_WORDS), len(THEIR_ANSWERS)):
            raise _misfit(weights, f"it has {words} words and {answers} answers, not 82 and 28")
        state["question_encoder.start"] = vectors_WC[1 + THEIR_WORDS.index("?")]
        state["question_encoder.embedding.weight"] = _by_name(vectors_WC)
        for part in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            state[f"question_encoder.lstm.{part}"] = public[f"text.lstm.{part}"]
        layers = ["first", *(f"rest.{number}" for number in range(spec.aggregator.options.layers - 1))]
        names = {f"aggregator.{layer}": f"rl.g_layers.{number}" for number, layer in enumerate(layers)}
        names |= {"head.0": "rl.f_fc1", "head.2": "rl.f_fc2", "head.5": "rl.f_fc3"}
        for name, theirs in names.items():
            for part in ("weight", "bias"):
                state[f"{name}.{part}"] = public[f"{theirs}.{part}"]
        order = [THEIR_ANSWERS.index(answer) for answer in ANSWERS]
        for part in ("weight", "bias"):
            state[f"head.5.{part}"] = state[f"head.5.{part}"][order]
    except KeyError as error:
        raise _misfit(weights, f"it has no {error.args[0]}") from None
    return state


def _misfit(weights: Path, problem: str) -> DataError:
    way_out = "give weights of its version original_fp, trained on CLEVR v1.0"
    return DataError(f"{weights}: is not of this network: {problem}; {way_out}")


def _convolution(public: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """A layer of the image encoder, which has convolution, norm and ReLU in turn."""
    conv, norm = f"conv.conv{number + 1}", f"conv.batchNorm{number + 1}"
    place, after = f"image_encoder.layers.{3 * number}", f"image_encoder.layers.{3 * number + 1}"
    return {
        f"{place}.weight": public[f"{conv}.weight"],
        **{f"{after}.{part}": public[f"{norm}.{part}"] for part in ("weight", "bias", "running_var")},
        f"{after}.running_mean": public[f"{norm}.running_mean"] - public[f"{conv}.bias"],
        f"{after}.num_batches_tracked": torch.tensor(0),
    }


def _by_name(vectors_WC: Tensor) -> Tensor:
    """Their word vectors in the order of ``VOCABULARY``; padding and unknown words have zeros."""
    rows_WC = torch.zeros(len(VOCABULARY), vectors_WC.shape[1])
    for row, word in enumerate(VOCABULARY):
        if word in THEIR_WORDS:
            rows_WC[row] = vectors_WC[1 + THEIR_WORDS.index(word)]
    return rows_WC


if __name__ == "__main__":
    main()
