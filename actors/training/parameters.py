"""Training parameters: the config keys that the trainer, its losses and its dataset read."""

from pydantic import Field

from actors.parameters import Settings


class DistillationParameters(Settings):
    """Learning from a teacher's start and end distributions (Hinton et al. 2015), beside the labels."""

    temperature: float = Field(default=2.0, gt=0.0)
    """Softens both distributions; the loss is multiplied by its square, so that gradients keep their size."""

    weight: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the teacher's loss; the labels get the rest."""


class KeepingParameters(Settings):
    """Keeps the mean-pooled embeddings of plain texts close to the base's, so that one model serves both jobs."""

    distance: float | None = Field(default=None, gt=0.0)
    """Distance from the base's embeddings that is allowed at the end: mean of 1 - cosine; null lets them go."""

    slack: float = Field(default=0.04, ge=0.0)
    """More distance that is allowed at the peak of the learning rate, and falls with it to zero."""

    weight: float = Field(default=10.0, ge=1.0, le=80.0)
    """First weight beside the span loss; it grows while the distance is more than allowed, and falls while less."""

    texts_per_step: int = Field(default=5, ge=1)
    """Plain texts in a step: crops of passages, and questions, of the training data."""

    texts: int = Field(default=28_000, ge=1)
    """Such texts in all; those that are drawn twice count once."""

    max_tokens: int = Field(default=256, ge=8)
    """Longest such text in tokens, special tokens included; longer ones are left out."""


class TrainingParameters(Settings):
    """The settings of a training run. The defaults are those usual for fine-tuning an encoder on SQuAD."""

    epochs: float = Field(default=2.0, gt=0.0)
    """Passes over the data; parts of one are fine."""

    steps: int | None = Field(default=None, ge=1)
    """Steps of the run, whatever `epochs` says; null means as many as the epochs have."""

    batch_size: int = Field(default=16, ge=1)
    """Windows in a step, over all workers."""

    learning_rate: float = Field(default=3e-5, gt=0.0)
    """Peak of the learning rate: linear warm-up before, linear decay to zero after."""

    warmup_steps: int = Field(default=100, ge=0)
    """Steps of warm-up, at most a tenth of all."""

    weight_decay: float = Field(default=0.01, ge=0.0)
    """AdamW's decay; biases and norms have none."""

    clip: float = Field(default=1.0, gt=0.0)
    """Largest norm of the gradient of all weights together."""

    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Dropout everywhere; null keeps the base's. On a CPU, 0 saves a third of the time."""

    freeze_word_embeddings: bool = False
    """Leaves the word embeddings as they are: half of a small model's weights, which small data do not need to move."""

    average_last: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the steps, the last ones, after each of which the weights are taken into a mean, which is the model that
    comes out (Izmailov et al. 2018); 0 means the weights after the last step."""

    bucket_batches: int = Field(default=50, ge=1)
    """Batches whose windows are sorted by length together: more pad less, fewer mix better."""

    seed: int = Field(default=42, ge=0, lt=1 << 32)
    """Of the order of the rows, a fresh QA head, and dropout."""

    distillation: DistillationParameters = DistillationParameters()
    """With --teacher."""

    embeddings: KeepingParameters = KeepingParameters()
    """Holds the embeddings in place."""
