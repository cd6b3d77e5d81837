"""What Hydra makes of conf/ under some words, and what it says of wrong ones in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import CONF
from bench.settings.groups import known_names
from bench.settings.resolution import settings_of_kinds
from bench.settings.typed import ConfigError


@cache
def loader() -> ConfigLoader:
    """Return Hydra's reader of conf/."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return GlobalHydra.instance().config_loader()


@cache
def file_alone(group: str, choice: str) -> dict[str, Any] | None:
    """Return a choice's file as Hydra composes it, in a hundredth of the time.

    None where that is more than the file: where it builds on others, or stands for another group.
    """
    if choice not in known_names(group):
        return None
    text = (CONF / group / f"{choice}.yaml").read_text("utf-8")
    if "defaults:" in text or "@package" in text:
        return None
    plain_settings: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    return plain_settings


@cache
def composed(words: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings under some words, not to be changed; choices of groups go first.

    So a word like `algorithm.discount=0.9` finds its key.
    """
    with one_sentence():
        config = loader().load_configuration(
            config_name="config", overrides=list(words), run_mode=RunMode.RUN
        )
    plain: Any = OmegaConf.to_container(config, resolve=False)
    plain.pop("hydra", None)
    return plain


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what Hydra says of wrong words into one sentence that says what is allowed."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_sentence(str(error))) from None
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError) as error:
        # Some words are more than Hydra has thought of.
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"These words cannot be composed ({said}).") from None


def _sentence(text: str) -> str:
    missing = re.search(r"Could not find '([\w/]+)/([^']*)'", text)
    if missing:
        group, name = missing.groups()
        return f"{group}={name} is unknown; allowed here: {', '.join(known_names(group))}."
    unknown = re.search(r"Could not override '([^']*)'", text)
    if unknown:
        return (
            f"{unknown[1]} is not a setting of this run; "
            "`python -m bench --cfg job` with the same group choices lists them all."
        )
    return " ".join(text.split())


def line_of(override: Override) -> str:
    """Return a word as Hydra takes it.

    A setting that a learner has in some kinds of worlds alone is none that Hydra can find; whether
    it is one here is known when the world is.
    """
    line = str(override.input_line)
    return f"++{line}" if line.partition("=")[0] in settings_of_kinds() else line
