"""``hacore export`` on a run folder."""

import json

import hacore
from hacore.spec import load_spec


def test_a_run_is_exported(cli, tiny, tmp_path, request):
    spec = load_spec(request.config.rootpath / "experiments" / "han_rn.toml", tiny)
    folder, _ = hacore.run(spec, runs=tmp_path, device="cpu", report=False)
    ran = cli("export", folder.path, "--format", "torch", "--json")
    assert ran.status == 0
    printed = json.loads(ran.out)
    assert printed["file"] == str(folder.path / "export" / "model.pt2")
    assert printed["description"] == str(folder.path / "export" / "model.pt2.json")
    assert set(printed["agreement"]) == {"questions", "logits", "largest_logit", "presence", "other_cells"}
    described = json.loads((folder.path / "export" / "model.pt2.json").read_text(encoding="utf-8"))
    assert described["fingerprint"].startswith("sort-of-clevr-")
    rule = {"normalize": "NFC", "replace": {}, "pattern": r"[\w'-]+|\?", "empty": []}
    assert described["word_rule"] == rule
    assert cli("export", tmp_path / "none").error.startswith(f"{tmp_path / 'none'}: no such run folder")
    (folder.path / "checkpoints" / "best.safetensors").unlink()
    (folder.path / "checkpoints" / "last.safetensors").unlink()
    assert "checkpoint" in cli("export", folder.path).error
