"""Finding, registering and composing the configuration files of configs/."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from minitf.config import schema
from minitf.config.errors import UserError

GROUPS = (
    "data", "tokenizer", "model", "attention", "optimizer", "schedule", "trainer", "logger",
    "callbacks", "experiment", "debug",
)  # fmt: skip

_DATA = {
    "scenes": schema.ScenesConfig,
    "toy": schema.ToyConfig,
    "text_files": schema.TextFilesConfig,
    "table": schema.TableConfig,
    "hub": schema.HubConfig,
}


def config_dir() -> Path:
    """The folder of train.yaml: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent.parent
    installed = package / "_configs"
    return installed if installed.is_dir() else package.parent / "configs"


def options(group: str) -> list[str]:
    """The names that `group=` takes, in order."""
    return sorted(file.stem for file in (config_dir() / group).glob("*.yaml"))


def register() -> None:
    """Put the schema behind the files, and the resolver that lists the groups in --help."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=schema.TrainConfig)
    for name, node in _DATA.items():
        store.store(group="schema/data", name=name, node=node)
    OmegaConf.register_new_resolver(
        "minitf.groups",
        lambda *_: "\n".join(f"{group:>12}: {', '.join(options(group))}" for group in GROUPS),
        replace=True,
    )


def compose_config(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration that `python train.py OVERRIDES` runs with.

    Args:
        overrides: as on the command line, such as `["model=tiny", "trainer.max_steps=9"]`.

    Raises:
        UserError: an option, key or value that does not exist, in one line.
    """
    from minitf.config.messages import explain

    register()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return typed(compose("train", overrides=list(overrides)))
    except Exception as error:
        if message := explain(error):
            raise UserError(message) from error
        raise


def typed(config: DictConfig) -> DictConfig:
    """The configuration behind its schema, whatever file it came from.

    Raises:
        UserError: a ${…} stands for nothing, or there is no such kind of data.
    """
    _check_references(config)
    # Plain first: a key added with + to a node of the schema's own type would pass the merge.
    config = DictConfig(OmegaConf.to_container(config, enum_to_str=True))
    data = config.get("data")
    result = OmegaConf.merge(OmegaConf.structured(schema.TrainConfig), config)
    if data is not None and OmegaConf.is_config(data):
        kind = {"reverse": "toy", "copy": "toy"}.get(data.name, data.name)
        if kind not in _DATA:
            raise UserError(f"data.name must be one of {', '.join(_DATA)}; got {data.name!r}")
        result.data = OmegaConf.merge(OmegaConf.structured(_DATA[kind]), data)
    return cast(DictConfig, result)


def plain(config: Any) -> Any:
    """Resolved plain containers: what a file, a checkpoint and a logger can hold."""
    return OmegaConf.to_container(config, resolve=True, enum_to_str=True)


def load_config(path: Path) -> DictConfig:
    """Read a run's config.yaml behind its schema.

    Raises:
        UserError: no such file, not YAML, or a key or value that the schema does not know.
    """
    from minitf.config.messages import explain

    if not path.is_file():
        raise UserError(f"a run directory holds config.yaml; there is none at {path}")
    try:
        return typed(cast(DictConfig, OmegaConf.load(path)))
    except UserError:
        raise
    except Exception as error:
        reason = explain(error) or " ".join(str(error).split())
        raise UserError(f"{path} is not a configuration of minitf: {reason}") from error


def require_complete(config: DictConfig) -> None:
    """Refuse a configuration in which a mandatory value is missing.

    Raises:
        UserError: names every key without a value.
    """
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(f"no value for {', '.join(missing)}; give it, as in {missing[0]}=VALUE")


def _check_references(node: DictConfig | ListConfig) -> None:
    """Look at every value: OmegaConf names no key when it resolves all of them at once."""
    keys: Any = node.keys() if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        if OmegaConf.is_missing(node, key):
            continue
        try:
            value = node[key]
        except InterpolationResolutionError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{error.full_key}: {reason}") from error
        if isinstance(value, DictConfig | ListConfig):
            _check_references(value)


def to_dataclass(node: Any) -> Any:
    """A schema node as its dataclass, resolved, enumerations as enumerations."""
    return OmegaConf.to_object(node)
