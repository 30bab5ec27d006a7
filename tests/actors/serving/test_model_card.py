"""What clients are told of the model."""

from actors.models.hub import find_model, fingerprint
from actors.parameters import ModelParameters
from actors.serving.model_card import describe
from actors.serving.replica import Replica
from tests.actors.helpers import GOLDEN
from tests.actors.serving.helpers import NAME


def test_the_card_tells_what_the_folder_holds(replica: Replica) -> None:
    card = replica.card
    assert (card.name, card.architecture, card.dtype) == (NAME, "DistilBertForQuestionAnswering", "float32")
    assert (card.max_length, card.hidden_size, card.answers) == (512, 384, True)
    assert card.fingerprint == fingerprint(find_model(ModelParameters(name=NAME)), "torch")
    bert = GOLDEN / "models" / "bert"
    assert describe(bert, ModelParameters(name=str(bert))).name == "bert"
