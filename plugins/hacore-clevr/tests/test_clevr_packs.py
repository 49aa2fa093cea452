"""Packs whose parts do not belong together."""

import json

import pytest
from hacore_clevr import PrepareConfig, prepare
from hacore_clevr.pack import open_pack

from hacore.data_tools import Silent
from hacore.errors import DataError


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda described: described["vocabulary"].pop(5), "words"),
        (lambda described: described["vocabulary"].__setitem__(5, None), "describes no prepared data"),
        (lambda described: described.update(types=[], functions=[]), "type"),
        (lambda described: described["functions"].pop(), "describes no prepared data"),
        (lambda described: described["splits"]["train"].update(images=1), "image"),
    ],
)
def test_texts_and_images_that_questions_name_must_be_there(official, tmp_path, names, damage, words):
    output = tmp_path / "pack"
    config = PrepareConfig(root=str(official), output=str(output), size=(16, 24), workers=1)
    assert not prepare.prepare(config, Silent()).problems
    path = output / "pack.json"
    described = json.loads(path.read_text())
    damage(described)
    path.write_text(json.dumps(described))
    with pytest.raises(DataError) as error:
        open_pack(output).questions("train")
    names(str(error.value), words, f"delete the folder {output}")
