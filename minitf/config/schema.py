"""Every key that minitf owns, with its type and default.

Hydra checks configs/ and the command line against these classes, so that a misspelt key or a value
of the wrong type is refused, in experiment files too. Ranges that a type cannot express are checked
where the value is used.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING


@dataclass
class DataConfig:
    """What every data set has: the option's name."""

    name: str = MISSING


@dataclass
class ScenesConfig(DataConfig):
    """`data=scenes`: English to German pairs from this project's grammar; no files, no network."""

    name: str = "scenes"
    train_size: int = 80_000
    val_size: int = 500
    test_size: int = 1_000
    compositional_size: int = 1_000
    seed: int = 0


@dataclass
class ToyConfig(DataConfig):
    """`data=reverse`, `data=copy`: sequences of letters, reversed or copied."""

    name: str = "reverse"
    train_size: int = 10_000
    val_size: int = 200
    test_size: int = 500
    min_length: int = 1
    max_length: int = 10
    alphabet: str = "abcdefghijklmnopqrst"
    seed: int = 0


class EmptyLines(StrEnum):
    """What to do with a pair of which one side is empty."""

    error = "error"
    skip = "skip"


@dataclass
class TextFilesConfig(DataConfig):
    """`data=text_files`: parallel files; line n of one translates line n of the other.

    A split's files are `root/SPLIT.LANGUAGE`, plain or with `.gz`; a split may hold `{lang}` for
    other names, as in `corpus.{lang}.txt`.
    """

    name: str = "text_files"
    root: str = MISSING
    src: str = "en"
    tgt: str = "de"
    train: str = "train"
    val: str | None = "val"
    """Null: pairs are held out of `train`."""
    val_held_out: int | None = None
    """How many; null: 500, or 5% of `train` where that is fewer."""
    tests: list[str] = field(default_factory=lambda: ["test"])
    empty_lines: EmptyLines = EmptyLines.error
    lowercase: bool = False


@dataclass
class TableConfig(DataConfig):
    """`data=table`: jsonl, csv or parquet files with a source and a target column."""

    name: str = "table"
    root: str = "."
    train: str = MISSING
    val: str | None = MISSING
    """Null: pairs are held out of `train`."""
    val_held_out: int | None = None
    """How many; null: 500, or 5% of `train` where that is fewer."""
    tests: dict[str, str] = field(default_factory=dict)
    src: str = "src"
    tgt: str = "tgt"
    format: str | None = None
    """jsonl, csv, tsv or parquet; null: what the file's name ends with, `.gz` aside."""
    empty_lines: EmptyLines = EmptyLines.error
    lowercase: bool = False


@dataclass
class HubConfig(DataConfig):
    """`data=hub`: a Hugging Face data set by name, or the path of a folder.

    `src` and `tgt` are keys of the `translation` column where the data set has one, else columns.
    """

    name: str = "hub"
    path: str = MISSING
    config_name: str | None = None
    revision: str | None = None
    src: str = "en"
    tgt: str = "de"
    translation_column: str = "translation"
    train: str = "train"
    val: str | None = "validation"
    """Null: pairs are held out of `train`."""
    val_held_out: int | None = None
    """How many; null: 500, or 5% of `train` where that is fewer."""
    tests: list[str] = field(default_factory=lambda: ["test"])
    empty_lines: EmptyLines = EmptyLines.error
    lowercase: bool = False


class TokenizerKind(StrEnum):
    """How text is cut into tokens."""

    bpe = "bpe"
    word = "word"
    char = "char"


@dataclass
class TokenizerConfig:
    """One vocabulary for source and target, trained on the training split or taken from a file."""

    name: TokenizerKind = TokenizerKind.bpe
    vocab_size: int = 2_000
    min_frequency: int = 2
    dropout: float = 0.0
    """BPE dropout (Provilkov et al. 2020): probability of leaving out a merge, in training only."""
    path: str | None = None
    """A tokenizer.json, such as another run's, to be used as it is: `name`, `vocab_size` and
    `min_frequency` are not read then."""


class LongPairs(StrEnum):
    """What to do with a pair that is longer than `max_length`."""

    error = "error"
    skip = "skip"
    truncate = "truncate"


@dataclass
class BatchingConfig:
    """Batches of like lengths: a token budget, or a number of sentences."""

    tokens: int | None = 4_096
    """Source plus target positions in a batch, padding counted."""
    sentences: int | None = None
    """A fixed number of sentences instead; then `tokens` must be null."""
    max_length: int = 256
    """The longest source or target, in tokens, end-of-sentence counted."""
    long_pairs: LongPairs = LongPairs.error
    limit_pairs: int | None = None
    """Train on the first so many pairs only; null: on all."""
    num_workers: int = 0
    on_device: bool = True
    """Keep the encoded data on the training device, where its batches are gathered."""


class Norm(StrEnum):
    """Where layer normalisation stands: before each sub-layer or after its residual."""

    pre = "pre"
    post = "post"


class Positions(StrEnum):
    """How a token's position enters the model."""

    sinusoidal = "sinusoidal"
    learned = "learned"
    rotary = "rotary"


class Activation(StrEnum):
    """The feed-forward network's non-linearity."""

    relu = "relu"
    gelu = "gelu"
    swiglu = "swiglu"


class TiedEmbeddings(StrEnum):
    """Which of source embedding, target embedding and output projection share their weight."""

    three_way = "three_way"
    two_way = "two_way"
    untied = "untied"


@dataclass
class ModelConfig:
    """The encoder-decoder Transformer (Vaswani et al. 2017)."""

    embed_dim: int = 128
    num_heads: int = 4
    num_encoder_layers: int = 2
    num_decoder_layers: int = 2
    feedforward_dim: int = 512
    norm: Norm = Norm.pre
    positions: Positions = Positions.sinusoidal
    activation: Activation = Activation.relu
    tied_embeddings: TiedEmbeddings = TiedEmbeddings.three_way
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    attention_in: list[str] = field(default_factory=lambda: ["encoder", "decoder", "cross"])
    """Where `attention` is used: in the encoder's self-attention, the decoder's, and the one over
    the encoder's output; minitf's own is elsewhere."""
    max_length: int = 512
    """Positions that `positions=learned` holds a vector for; the others have no limit."""


class DecodingMethod(StrEnum):
    """How the next token is chosen."""

    greedy = "greedy"
    beam = "beam"
    sample = "sample"


class EarlyStopping(StrEnum):
    """When a sentence's beam search ends.

    `first`: as soon as beam_size hypotheses are finished (Hugging Face `early_stopping=True`).
    `heuristic`: when no live hypothesis can, at its present length, beat the worst finished one.
    `never`: only when none could at any length up to the maximum.
    """

    first = "first"
    heuristic = "heuristic"
    never = "never"


@dataclass
class DecodingConfig:
    """How a trained model writes its output."""

    method: DecodingMethod = DecodingMethod.greedy
    """Implied on the command line by an option that one method alone reads, such as a beam size."""
    beam_size: int = 5
    n_best: int = 1
    length_penalty: float = 1.0
    """A hypothesis' score is its log-probability / length ** length_penalty, EOS counted."""
    early_stopping: EarlyStopping = EarlyStopping.first
    max_length_ratio: float = 1.5
    max_length_extra: int = 20
    """At most `max_length_ratio` times the source's tokens plus this many."""
    min_length_ratio: float = 0.0
    min_length: int = 0
    temperature: float = 1.0
    top_k: int = 0
    """Sample among the k most likely tokens; 0: all."""
    top_p: float = 1.0
    """Sample among the most likely tokens that together have this probability (Holtzman 2020)."""
    seed: int = 0
    no_repeat_ngram: int = 0
    batch_tokens: int = 8_192
    """Source positions decoded together, padding counted, times the beam's size or the samples."""


class OptimizerKind(StrEnum):
    """Which optimiser of torch.optim."""

    adamw = "adamw"
    adam = "adam"


@dataclass
class OptimizerConfig:
    """Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019)."""

    name: OptimizerKind = OptimizerKind.adamw
    lr: float = 1e-3
    """The schedule's peak."""
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-9
    weight_decay: float = 0.01
    """Not applied to biases, normalisation weights and embeddings."""


class ScheduleKind(StrEnum):
    """How the learning rate moves over the updates."""

    inverse_sqrt = "inverse_sqrt"
    cosine = "cosine"
    warmup_stable_decay = "warmup_stable_decay"
    constant = "constant"


@dataclass
class ScheduleConfig:
    """Learning rate as a share of `optimizer.lr`, by update."""

    name: ScheduleKind = ScheduleKind.inverse_sqrt
    warmup_steps: int = 400
    decay_steps: int | None = None
    """cosine: updates to the minimum; warmup_stable_decay: the decay's. Null: to the run's end."""
    min_ratio: float = 0.0
    """cosine and warmup_stable_decay reach it with the last update, inverse_sqrt stays above it."""


@dataclass
class ObjectiveConfig:
    """What training minimises, per target token."""

    label_smoothing: float = 0.1
    r_drop: float = 0.0
    """Weight of R-Drop's symmetric KL term (Liang et al. 2021); above 0 doubles the forward."""


@dataclass
class EvaluationConfig:
    """What is measured while training and at its end."""

    val_bleu_sentences: int = 200
    """Sentences of `val` translated greedily at each validation; 0: none."""
    test_sentences: int | None = None
    """At most this many of each test split; null: all."""
    average_last: int = 0
    """Average the last N epoch checkpoints at the end and evaluate that (0: the best one)."""
    average_best: int = 0
    """Average instead the N checkpoints of lowest loss, one being kept at each validation."""
    lowercase: bool = False
    tokenize: str = "13a"
    """sacrebleu's tokenizer; `none` for text that is tokenised already."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    """For the test splits; validation is always greedy."""
    samples: int = 10


@dataclass
class TrainConfig:
    """Everything `python train.py` reads."""

    data: Any = MISSING
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    attention: dict[str, Any] = field(default_factory=dict)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    seed: int = 1
    run_dir: str = MISSING
    resume: str | None = None
    compile: bool = False
    cuda_graphs: bool = False
    """Record an update's forward and backward pass once for every shape of batch. Python that runs
    inside an own attention, such as a counter, runs while recording alone."""
