"""`python -m bench [run] KEY=VALUE ...`: one run or, where a value is several, a sweep."""

import yaml

from bench.errors import UserError
from bench.settings.groups import choices

USAGE = """\
python -m bench [run] KEY=VALUE ... [--dry-run] [--cfg job]
  Trains every combination of the values that are named: seed=0,1 or 'seed=range(10)'. What is
  stored is not trained again. --dry-run prints the plan, --cfg job the settings it comes to."""
GROUPS = (
    "algorithm", "dataset", "behavior", "coverage", "chosen", "experiment", "launcher", "tracking"
)  # fmt: skip
# Accepted for those who know it from Hydra; several values make a sweep with it or without.
MULTIRUN = ("-m", "--multirun")


def main(words: list[str]) -> int:
    """Train what the words ask for and return the exit status."""
    if "--help" in words or "-h" in words:
        print(f"{USAGE}\n{choices(*GROUPS)}")
        return 0
    words = [word for word in words if word not in MULTIRUN]
    if "--cfg" in words:
        place = words.index("--cfg")
        if words[place + 1 : place + 2] != ["job"]:
            raise UserError("--cfg should be followed by `job`, which prints settings of runs.")
        print_settings(words[:place] + words[place + 2 :])
        return 0
    dry = [word for word in words if word == "--dry-run"]
    words = [word for word in words if word not in dry]
    for word in words:
        if word.startswith("-"):
            raise UserError(f"{word} is no option; there are --dry-run, --cfg job and --help.")
    # Imported late: whoever asks for help need not wait for torch.
    from bench.sweeps.launch import launch

    return launch([*words, *(["launcher.dry_run=true"] if dry else [])])


def print_settings(words: list[str]) -> None:
    """Print the settings of the first run that the words come to, checked as if it were trained."""
    # Late, as above.
    from bench.settings.composition import Composer
    from bench.sweeps.plan import make_plan

    jobs = list(Composer(words).jobs())
    runs = make_plan(map(dict, jobs)).runs
    if len(runs) > 1:
        print(f"# The first of {len(runs)} runs.")
    first = {key: runs[0].settings.get(key, value) for key, value in jobs[0].items()}
    print(yaml.safe_dump(first, sort_keys=False).rstrip())
