"""Whatever is wrong with a command ends in one sentence, a non-zero exit, and nothing written."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.settings.composition import Composer
from bench.settings.groups import known_names
from bench.settings.run import HARNESS_KEYS
from bench.sweeps.execution import harness_config


def all_of(group: str) -> str:
    """Return the choices of a group as a sentence lists them."""
    return ", ".join(known_names(group))


# words of the command, and what the sentence must name: the culprit and what is allowed
WRONG = [
    ("nonsense=1", "nonsense"),
    ("algorithm=nonsense", all_of("algorithm")),
    ("dataset=nonsense", all_of("dataset")),
    ("dataset=cliff_mixed", all_of("dataset")),
    ("behavior=nonsense", all_of("behavior")),
    ("dataset=cliff behavior=medium dataset.halfway=2", "less than or equal to 1"),
    ("behavior=mixed dataset=d4rl", "is for data that is collected here"),
    ("coverage=nonsense", all_of("coverage")),
    ("experiment=nonsense", all_of("experiment")),
    ("experiment=claim,tuning", "one experiment"),
    ("launcher=nonsense", "local"),
    ("tracking=nonsense", "none, online, wandb"),
    ("tracking.mode=sometimes", "'offline', 'online' or 'none'"),
    ("tracking.time_limit=0", "greater than 0"),
    ("+tracking.nonsense=1", "time_limit"),
    ("algorithm.nonsense=1", "algorithm.nonsense"),
    ("+algorithm.nonsense=1", "learning_rate"),
    ("+dataset.nonsense=1", "num_transitions"),
    ("+dataset.environment.nonsense=1", "num_states"),
    ("+coverage.nonsense=1", "severity"),
    ("+launcher.nonsense=1", "cohort_size"),
    ("+nonsense=1", "num_updates"),
    ("~algorithm.learning_rate", "would remove a setting"),
    ("~dataset.discount", "would remove a setting"),
    ("~seed", "would remove a setting"),
    ("cql", "'cql' is no command"),
    ("seed=[0", "cannot be understood"),
    ("seed=0 seed=1", "given twice"),
    ("seed=0,1 seed=1,2", "given twice"),
    ("algorithm.learning_rate=0", "greater than 0"),
    ("algorithm.learning_rate=-0.1", "greater than 0"),
    ("algorithm.learning_rate=inf", "finite"),
    ("algorithm.learning_rate=nan", "finite"),
    ("algorithm.learning_rate=fast", "number"),
    ("algorithm.learning_rate=null", "number"),
    ("algorithm.learning_rate=true", "number"),
    ("algorithm.hidden_sizes=64", "tuple"),
    ("algorithm.hidden_sizes=[64,-1]", "greater than or equal to 1"),
    ("algorithm.hidden_sizes=[64.5]", "integer"),
    ("algorithm.conservatism=-1", "greater than or equal to 0"),
    ("algorithm.polyak=0", "greater than 0"),
    ("algorithm.polyak=1.5", "less than or equal to 1"),
    ("algorithm.initial_value=high", "'zero', 'v_min' or 'v_max'"),
    ("algorithm.discount=1.5", "less than 1"),
    ("algorithm.target=algorithms.cql.Nothing", "full name of a class"),
    ("algorithm=bc algorithm.top_fraction=0", "greater than 0"),
    ("algorithm=fqi algorithm.target_interval=0", "greater than or equal to 1"),
    ("algorithm=bcq algorithm.threshold=2", "less than or equal to 1"),
    ("algorithm=fqi_exact dataset=cartpole", "needs a tabular dataset"),
    ("dataset.discount=1.5", "less than 1"),
    ("dataset.discount=1.0", "less than 1"),
    ("dataset.discount=-0.1", "greater than or equal to 0"),
    ("dataset.num_transitions=0", "greater than or equal to 1"),
    ("dataset.num_transitions=-5", "greater than or equal to 1"),
    ("dataset.num_transitions=1.5", "integer"),
    ("dataset.max_steps=0", "greater than or equal to 1"),
    ("dataset.seed=-1", "greater than or equal to 0"),
    ("dataset.normalization=sometimes", "'data', 'full' or 'none'"),
    ("dataset.behavior=[]", "behavior must name at least one"),
    ("dataset.behavior=[{epsilon:2,share:1}]", "less than or equal to 1"),
    ("dataset.behavior=[{epsilon:0.1,share:0}]", "greater than 0"),
    ("dataset.behavior=[{epsilon:0.1}]", "missing"),
    ("dataset.environment.branching=99", "can be at most"),
    ("dataset=lock dataset.environment.length=11", "less than or equal to 10"),
    ("dataset=frozen_lake dataset.environment.id=Nothing-v1", "FrozenLake-v1"),
    ("coverage=thin coverage.severity=1.1", "less than or equal to 1"),
    ("coverage=thin coverage.severity=-0.1", "greater than or equal to 0"),
    ("coverage=thin coverage.severity=much", "number"),
    ("coverage.severity=0.5", "coverage=none takes nothing away"),
    ("coverage=region coverage.shape=cube", "'slab' or 'ball'"),
    ("coverage=region dataset=cartpole coverage.dimension=mood", "position, velocity, angle"),
    ("coverage=quality coverage.worse_epsilon=1.5", "less than or equal to 1"),
    ("coverage=quality dataset=garnet", "worse_epsilon is 1, but should be above"),
    ("dataset=lock coverage=quality coverage.worse_id=x", "data collected here has no id"),
    ("coverage=rewards coverage.kind=mean", "'zero', 'random' or 'negated'"),
    ("coverage=size_matched coverage.of=nonsense", f"known are: {all_of('coverage')}"),
    ("coverage=size_matched coverage.of=7", "should name a degradation"),
    ("coverage=composite", "coverage.steps is empty"),
    ("coverage=composite coverage.steps=[nonsense]", f"known are: {all_of('coverage')}"),
    ("coverage=composite coverage.steps=thin", "tuple"),
    ("coverage=composite coverage.steps=[{name:thin,severity:2}]", "less than or equal to 1"),
    ("coverage=composite coverage.steps=[{name:thin,much:1}]", "much is not a setting"),
    ("seed=-1", "greater than or equal to 0"),
    ("seed=1.5", "integer"),
    ("seed=null", "integer"),
    ("num_updates=0", "greater than or equal to 1"),
    ("num_updates=many", "integer"),
    ("batch_size=0", "greater than or equal to 1 or 'full'"),
    ("batch_size=half", "'full'"),
    ("eval_every=0", "greater than or equal to 1"),
    ("eval_episodes=-3", "greater than or equal to 1"),
    ("experiment_name=../elsewhere", "letters, digits"),
    ("experiment_name=..", "letters, digits"),
    ("algorithm.name=mine", all_of("algorithm")),
    ("dataset.name=mine", all_of("dataset")),
    ("coverage.name=mine", all_of("coverage")),
    ("algorithm.target=builtins.print", "should name a subclass of Algorithm"),
    ("dataset.target=bench.worlds.mdps.Cliff", "should name a subclass of DataSource"),
    ("results_dir=/proc/nowhere", "/proc/nowhere"),
    (
        "dataset=cartpole dataset.num_transitions=40 coverage=actions",
        "num_cells is 64, but should be at most",
    ),
    ("device=tpu", "'cpu', 'cuda' or 'auto'"),
    ("--cfg job num_updates=-3", "greater than or equal to 1"),
    ("--cfg job algorithm=bc dataset=lock algorithm.objective=mse", "objective is not a setting"),
    ("compile=maybe", "'auto', 'on' or 'off'"),
    ("launcher.cohort_size=0", "greater than or equal to 1"),
    ("launcher.dry_run=perhaps", "boolean"),
    ("grid=[1]", "list of mappings"),
    ("grid=[{nonsense:[1]}]", "nonsense is not a setting"),
    ("grid=[]", "grid is empty"),
    ("grid=[{algorithm:[nonsense]}]", all_of("algorithm")),
    ("algorithm=", "algorithm"),
    ("seed==1", "seed==1"),
    ("experiment_name=é1", "in a shell as in \"experiment_name='é1'\""),
    ("results_dir=~/x", "in a shell as in \"results_dir='~/x'\""),
    ("describe dataset=lock -m behavior=mixed", "-m is no option here"),
    ("status -m default", "Unrecognized arguments: -m"),
    ("seed=0 -m seed=1", "given twice"),
    ("algorithm.learning_rate=1e39", "single precision"),
    ("algorithm.learning_rate=1e-50", "single precision"),
    ("-m seed=0,-1", "greater than or equal to 0"),
    ("-m algorithm=cql,nonsense", all_of("algorithm")),
    ("-m coverage=thin coverage.severity=0,0.5,2", "less than or equal to 1"),
]


def run(words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command in this process and return its exit status."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["bench", *words.split()])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize(("words", "named"), WRONG, ids=[words for words, _ in WRONG])
def test_a_wrong_command_is_one_sentence_and_leaves_nothing(
    words: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    status = run(words, tmp_path, monkeypatch)
    message = capfd.readouterr().err.strip()
    assert status in (1, 2)
    assert named in message
    assert len(message.splitlines()) == 1
    assert "Traceback" not in message
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("place", range(4))
def test_the_option_of_hydra_may_stand_anywhere(place, tmp_path, monkeypatch, capfd):
    words = ["algorithm=bc", "dataset=lock", "seed=0,1", "--dry-run"]
    words.insert(place, "-m")
    assert run(" ".join(words), tmp_path, monkeypatch) == 0
    assert capfd.readouterr().out.startswith("2 runs planned")


@pytest.mark.parametrize("word", ["results_dir='~/x'", 'results_dir="~/x"'])
def test_the_home_folder_has_a_short_name(word, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (settings,) = Composer([word, "launcher=local", "dataset=lock"]).jobs()
    own = {key: settings[key] for key in HARNESS_KEYS}
    assert harness_config(own).results_dir == tmp_path / "home" / "x"


def test_the_module_itself_refuses_a_wrong_command(tmp_path: Path) -> None:
    """Through a real process: what a user sees."""
    command = [sys.executable, "-m", "bench", "coverage=thin", "coverage.severity=7"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == ("coverage.severity is 7, but should be less than or equal to 1.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """As in `python -m bench ... | head -1`."""
    words = "algorithm=bc dataset=lock launcher.dry_run=true"
    command = f"{sys.executable} -m bench {words} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode in (0, 141)
