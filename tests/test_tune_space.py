"""Claims about what can be searched: it is read as it is written, and what can not work is refused before anything is trained."""

import pytest
from click.testing import CliRunner
from searches import BASE, Toy, in_this_process, tuned

from vae_tf import config as configs
from vae_tf.cli import main
from vae_tf.errors import ConfigError
from vae_tf.tuning import search
from vae_tf.tuning.space import Space


@pytest.mark.parametrize(
    ("text", "read", "ends"),
    [
        ("model.latent_dim=8,16,32", "model.latent_dim=8,16,32", ("8", "16", "32")),
        ("training.learning_rate=1e-4..1e-2:log", "training.learning_rate=0.0001..0.01:log", ("0.0001", "0.01", "0.001")),
        ("training.batch_size=50..400:int:log", "training.batch_size=50..400:log:int", ("50", "400")),
        ("training.anneal=0..1", "training.anneal=0..1", ("0", "1", "0.5")),
        ("model.encoder.hidden=[8],[8, 8]", "model.encoder.hidden=[8],[8, 8]", ("[8]", "[8, 8]")),
        ("model.posterior=full-normal,{name: mixture, components: 2}", None, ("full-normal", "{name: mixture, components: 2}")),
        ("training.jit_compile=null,true,false", None, ("null", "true", "false")),
        ("training.average=null,0.9", "training.average=null,0.9", ("null", "0.9")),
    ],
)
def test_a_setting_reads_as_it_is_written(text, read, ends):
    (setting,) = Space.parse([text]).settings
    assert str(setting) == (read or text)
    assert tuple(setting.text(value) for value in setting.ends) == ends
    assert str(Space.parse([str(setting)])) == str(setting)


@pytest.mark.parametrize(
    ("searched", "message"),
    [
        (
            ["training.learning_rate"],
            "`--search` must be section.key=VALUES: values with commas between them, such as model.latent_dim=8,16,32",
        ),
        (["=1,2"], "`--search` must be section.key=VALUES"),
        (["model.latent_dim="], "`--search` must be section.key=VALUES"),
        (["model.latent_dim=8"], "has one value, 8, and nothing to choose from; give it by --set model.latent_dim=8"),
        (["model.latent_dim=8,16,8"], "has a value twice: 8,16,8"),
        (["model.latent_dim=4,4.0"], "has a value twice: 4,4.0"),
        (["training.learning_rate=1e-3,0.01,0.001"], "has a value twice: 1e-3,0.01,0.001"),
        (["model.likelihood={name: normal, scale: 1e-1},{scale: 0.1, name: normal}"], "has a value twice"),
        (["model.encoder.hidden=[8, 8],[8.0, 8]"], "has a value twice"),
        (["model.likelihood=binomial,{name: binomial}"], "model.likelihood has a value twice: binomial is {name: binomial}"),
        (["training.learning_rate=0.001..0.00100001:log"], "both ends of the range are 0.001 when rounded to 4 digits"),
        (["model.encoder.hidden=[8,[8,8]"], "are no YAML; quote them or close their brackets"),
        (["training.anneal=1..0"], "a range must begin below its end, and both be finite; got 1..0"),
        (["training.anneal=0..inf"], "a range must begin below its end, and both be finite; got 0..inf"),
        (["training.anneal=0..nan"], "a range must begin below its end, and both be finite"),
        (["training.anneal=0..1:log"], "with :log a range must begin above 0; got 0..1"),
        (["training.batch_size=50..99.5:int"], "with :int both ends must be whole numbers; got 50..99.5"),
        (["training.anneal=0..x"], "a range must be two numbers with two points between them; got '0..x'"),
        (["training.anneal=0..1..2"], "a range must be two numbers with two points between them"),
        (["training.anneal=0..1:cubic"], "behind a range stand :log, :int or both; got :cubic"),
        (["training.anneal=0,1", "training.anneal=0..1"], "training.anneal stands there 2 times; put all of its values into one"),
        (["seed=1,2,3"], "would find luck, not a setting"),
        (["data.binarize=none,dynamic"], "would change the images by which trials are compared"),
        (["data={source: digits},{source: digits, binarize: dynamic}"], "would change the images by which trials are compared"),
        (["data.corruption.share=0.1,0.2"], "would change the images by which trials are compared"),
        (["training.rate=1e-3..1e-2:log"], "training.rate=0.001 can not work: unknown key `training.rate`. Known: anneal,"),
        (["trainig.epochs=2,3"], "unknown section `trainig`. Did you mean 'training'?"),
        (
            ["training.batch_size=50..400"],
            "can not work: `training.batch_size`: Input should be a valid integer, got a number with a fractional",
        ),
        (["training.batch_size=50..400"], "Where only whole numbers work, write training.batch_size=50..400:int."),
        (["training.anneal=0..2"], "training.anneal=2 can not work: `training.anneal`: Input should be less than or equal to 1"),
        (["model.latent_dim=8,many"], "model.latent_dim=many can not work"),
    ],
)
def test_a_space_that_can_not_work_is_refused_at_once(searched, message, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "answer", None)
    options = [f"--search={text}" for text in searched]
    done = CliRunner().invoke(main, ["tune", "digits", "--study", str(tmp_path / "study"), *options])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: `--search` ")
    assert message in line
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("searched", "message"),
    [
        ("training.batch_size=100,5000", "training.batch_size=5000 can not work: `training.batch_size` must be in 1..1455"),
        ("objective.warmup_epochs=0..9:int", "warmup_epochs=9 can not work: the schedule of `objective` would end after 9 epochs"),
        ("model.encoder.width=8,16", "width=8 can not work: model.encoder 'mlp': unknown key `width`"),
        ("model.prior=standard-normal,vampire", "model.prior=vampire can not work: `model.prior` 'vampire' does not exist"),
        ("model.likelihood=binomial,normal", "model.likelihood=normal can not work: probabilities of discrete values, densities"),
        ("model.condition=null,classes", "model.condition=classes can not work: probabilities of discrete values, densities"),
        ("objective.beta=1..4", "objective.beta=1 can not work: objective 'elbo': unknown key `beta`"),
    ],
)
def test_a_space_whose_models_can_not_be_built_is_refused_before_anything_is_trained(searched, message, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "answer", in_this_process)
    with pytest.raises(ConfigError) as caught:
        tuned(tmp_path / "study", space=Space.parse([searched]))
    assert message in str(caught.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("own", "searched", "message"),
    [
        ("objective.warmup_epochs=9", "training.learning_rate=1e-3,1e-2", "the configuration that is varied can not work: the schedule"),
        ("objective.warmup_epochs=9", "objective.warmup_epochs=1..5:int", "`--search` objective.warmup_epochs=1..5:int: objective"),
        ("training.batch_size=9999", "model.latent_dim=2,3", "the configuration that is varied can not work: `training.batch_size` must"),
    ],
)
def test_what_can_not_work_without_a_search_is_not_blamed_on_the_search(own, searched, message, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "answer", in_this_process)
    with pytest.raises(ConfigError) as caught:
        tuned(tmp_path / "study", base=BASE.override([own]), space=Space.parse([searched]))
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "study").exists()


def test_a_search_may_lead_away_from_what_can_not_work(tmp_path, monkeypatch):
    toy = Toy()

    async def checked_here(request, *arguments):
        return await (in_this_process if "configs" in request else toy)(request, *arguments)

    monkeypatch.setattr(search, "answer", checked_here)
    base, space = BASE.override(["objective.warmup_epochs=9"]), Space.parse(["objective.warmup_epochs=0,1"])
    assert len(tuned(tmp_path / "study", base=base, space=space)) == 2


@pytest.mark.parametrize(
    ("own", "searched", "first"),
    [("2.5", None, None), ("2.5", "0..5:int", None), ("2.5", "0..5", 2.5), ("2.0", "0..5:int", 2), ("7", "0..5:int", None)],
)
def test_a_search_starts_without_the_own_values_where_they_are_none_of_its_values(own, searched, first, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "answer", Toy())
    base = BASE.override([f"objective.warmup_epochs={own}"])
    space = Space.parse([f"objective.warmup_epochs={searched}"]) if searched else Space.default(base)
    assert (space.values_of(base) or {}).get("objective.warmup_epochs") == first
    values = [trial.values["objective.warmup_epochs"] for trial in tuned(tmp_path / "study", trials=3, base=base, space=space)]
    assert all(value == int(value) for value in values) is (searched != "0..5")
    assert (values[0] == float(own)) is (first is not None)


@pytest.mark.parametrize("name", configs.preset_names())
def test_every_preset_has_a_space_of_its_own_that_holds_it(name):
    preset = configs.preset(name)
    space = Space.default(preset)
    assert {"training.learning_rate", "training.batch_size"} <= {setting.key for setting in space.settings}
    assert space.config(preset, space.values_of(preset)) == preset
    assert len(list(space.ends(preset))) >= 2 * len(space.settings)
