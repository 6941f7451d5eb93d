"""Claims of the README: its Python runs as it stands, and its commands exist."""

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs(capsys):
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["images"].shape == (64, 8, 8, 1)
    assert "nats (100 images, importance sampling, 100 posterior samples per image)" in capsys.readouterr().out


def test_every_link_of_the_documents_leads_somewhere_and_no_placeholder_is_left():
    root = Path(__file__).parent.parent
    for document in [root / "README.md", *root.glob("docs/*.md")]:
        text = document.read_text()
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert link.startswith("http") or (document.parent / link).exists(), f"{document.name} links to {link}"
        assert not re.search(r"MEASURED|TODO|FIXME", text)


def test_from_an_array_to_images_takes_at_most_five_lines():
    block = next(block for block in blocks("python") if "vae.fit" in block and "vae.generate" in block)
    assert len([line for line in block.splitlines() if line.strip()]) <= 5


def commands():
    text = "\n".join(blocks("")).replace("\\\n", " ")
    return [line.split("#")[0].strip() for line in text.splitlines() if line.startswith("python -m ")]


def test_the_walk_is_complete():
    verbs = {tuple(command.split()[2:4]) for command in commands()}
    assert {("vae_tf", "train"), ("vae_tf", "evaluate"), ("vae_tf", "report"), ("vae_tf", "sample")} <= verbs
    assert {("export", "inspect"), ("serving", "run"), ("serving", "generate"), ("serving", "tf-serving")} <= verbs


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_readme_parses(command, tmp_path, monkeypatch):
    """Options and arguments are known to the command; nothing is run."""
    (tmp_path / "runs" / "mnist").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    _, _, package, *arguments = shlex.split(command)
    group = importlib.import_module(f"{package}.cli").main
    with click.Context(group) as context:
        _, verb, rest = group.resolve_command(context, arguments)
        verb.make_context(verb.name, list(rest), parent=context, resilient_parsing=False)
