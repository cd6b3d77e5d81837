"""`python -m bench`: one run, or with `-m` or `experiment=...` a sweep.

Whatever is wrong with the command ends in one sentence and exit status 2, before anything is
written.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bench import CONF


def main() -> NoReturn:
    """Run the command line and exit."""
    add_plugins()
    # Hydra would print its own errors; this way they arrive here and become one sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with one_sentence():
        _app()
    sys.exit(0)


def add_plugins() -> None:
    """Let Hydra find the sweeper, which conf/config.yaml names."""
    folder = str(Path(__file__).parent / "plugins")
    if folder not in sys.path:
        sys.path.append(folder)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _app(config: DictConfig) -> None:
    from bench.launcher import launch

    words = list(HydraConfig.get().overrides.task)
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        # One job of several that Hydra's own sweeper and launchers bring: it must not end the rest.
        if launch(GlobalHydra.instance().config_loader(), words) != 0:
            raise HydraException("A job did not end well; the lines above say why.")
        return
    # Hydra announces an exception that leaves this function; an exit it lets pass.
    with one_sentence():
        sys.exit(launch(GlobalHydra.instance().config_loader(), words))


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what a user can do wrong into one sentence and an exit status."""
    from bench.results import DamagedRecordError
    from bench.typed import ConfigError

    try:
        yield
    except (ConfigError, DamagedRecordError, HydraException, OmegaConfBaseException) as error:
        print(_sentence(error), file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read the output has seen enough; flushing at exit would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"{place}{error.strerror or error}.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on with what is missing.", file=sys.stderr)
        sys.exit(130)


def _sentence(error: Exception) -> str:
    """Return an error of ours or of Hydra's as one sentence that says what is allowed."""
    text = str(error)
    missing = re.search(r"Could not find '([\w/]+)/([^']*)'", text)
    if missing:
        group, name = missing.groups()
        names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return f"{group}={name} is unknown; allowed here: {', '.join(names)}."
    unknown = re.search(r"Could not override '([^']*)'", text)
    if unknown:
        return (
            f"{unknown[1]} is not a setting of this run; "
            "`python -m bench --cfg job` with the same group choices lists them all."
        )
    return " ".join(text.split())


if __name__ == "__main__":
    main()
