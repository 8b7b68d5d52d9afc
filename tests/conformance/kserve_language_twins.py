"""Twins of the language models that upstream's tests name: tiny ones, with the answers they expect.

Each is of the same architecture with weights by chance; its last layer is set so that what the
tests send is answered as they expect. ``python kserve_language_twins.py EXPECTED FOLDER`` writes
them, a folder to a repository, where EXPECTED is upstream's ``test_output.py``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import tokenizers
import torch
import transformers

_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS: Final = (
    *("the", "capital", "of", "france", "is", "paris", "brazil", "brasilia", "what", "?", "."),
    *("hello", ",", "my", "dog", "cute", "this", "an", "example", "sentence"),
)
_PIECES: Final = ("Hu", "##gging", "##F", "##ace", "is", "a", "company", "based", "in", "Paris")
_ENTITIES: Final = (*_PIECES, "and", "New", "York")
_GERMAN: Final = ("Das", "ist", "für", "Deutschland")
_POLARITY: Final = (-2.152204, 2.5094059)
_ORGANISATION: Final = 6
_CHAT: Final = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}"
    "{% endfor %}{{ 'assistant: ' }}"
)


def main(expected: Path, target: Path) -> None:
    """Writes every repository as a folder."""
    torch.manual_seed(0)
    # So small models are slower with several, and by far on a busy machine.
    torch.set_num_threads(1)
    _polarity(target / "textattack/bert-base-uncased-yelp-polarity")
    _masks(target / "bert-base-uncased")
    _entities(target / "dbmdz/bert-large-cased-finetuned-conll03-english")
    _vectors(target / "sentence-transformers/all-MiniLM-L6-v2", _vector(expected))
    _ranks(target / "BAAI/bge-reranker-base")
    _translation(target / "t5-small")
    for name in ("Qwen/Qwen2-0.5B", "Qwen/Qwen2-0.5B-Instruct"):
        _four(target / name)
    _opt(target / "facebook/opt-125m")


def _vector(file: Path) -> list[float]:
    """The numbers of a list of ``approx(number, …)``."""
    wanted = "huggingface_text_embedding_expected_output"
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == wanted:
            calls = [one for one in ast.walk(node.value) if isinstance(one, ast.Call)]
            return [float(ast.literal_eval(call.args[0])) for call in calls]
    raise LookupError(wanted)


def _bert(kind: str, words: Sequence[str], hidden: int = 32, **more: Any) -> tuple[Any, Any]:
    """A model and its tokenizer, which knows the words."""
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *words))}
    tokenizer = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=words is _WORDS)
    tokenizer.model_max_length = 64
    sizes = {"hidden_size": hidden, "intermediate_size": 32, "max_position_embeddings": 64}
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), num_hidden_layers=1, num_attention_heads=2, **sizes, **more
    )
    return getattr(transformers, kind)(config).eval(), tokenizer


def _saved(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _polarity(folder: Path) -> None:
    model, tokenizer = _bert("BertForSequenceClassification", _WORDS, num_labels=2)
    model.classifier.weight.data.zero_()
    model.classifier.bias.data = torch.tensor(_POLARITY)
    _saved(model, tokenizer, folder)


@torch.no_grad()
def _masks(folder: Path) -> None:
    """What is asked for is what lies nearest to the mask's own vector."""
    model, tokenizer = _bert("BertForMaskedLM", _WORDS, tie_word_embeddings=False)
    texts = {
        "The capital of France is [MASK].": "paris",
        "The capital of [MASK] is paris.": "france",
    }
    head = torch.nn.Linear(32, len(tokenizer))
    head.weight.data.zero_()
    for text, word in texts.items():
        tokens = tokenizer(text, return_tensors="pt")
        at = (tokens["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
        states = model.cls.predictions.transform(model.bert(**tokens).last_hidden_state)
        head.weight.data[tokenizer.convert_tokens_to_ids(word)] = states[0, at]
    model.cls.predictions.decoder.weight = torch.nn.Parameter(head.weight.data)
    model.cls.predictions.bias.data.zero_()
    model.cls.predictions.decoder.bias.data.zero_()
    _saved(model, tokenizer, folder)


@torch.no_grad()
def _entities(folder: Path) -> None:
    model, tokenizer = _bert("BertForTokenClassification", _ENTITIES, num_labels=9)
    text = "HuggingFace is a company based in Paris and New York"
    tokens = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    states = model.bert(**tokens).last_hidden_state[0]
    likeness = states @ states[1]
    others = torch.cat([likeness[:1], likeness[2:]]).max()
    model.classifier.weight.data.zero_()
    model.classifier.bias.data.zero_()
    model.classifier.weight.data[_ORGANISATION] = states[1]
    model.classifier.bias.data[0] = (likeness[1] + others) / 2
    _saved(model, tokenizer, folder)


def _vectors(folder: Path, vector: Sequence[float]) -> None:
    model, tokenizer = _bert("BertModel", _WORDS, hidden=len(vector))
    last = model.encoder.layer[-1].output.LayerNorm
    last.weight.data.zero_()
    last.bias.data = torch.tensor(vector)
    _saved(model, tokenizer, folder)


@torch.no_grad()
def _ranks(folder: Path) -> None:
    model, tokenizer = _bert("BertForSequenceClassification", _WORDS, num_labels=1)
    query = "What is the capital of France?"
    documents = ["The capital of Brazil is Brasilia.", "The capital of France is Paris."]
    tokens = tokenizer([query] * 2, documents, padding=True, return_tensors="pt")
    wrong, right = model.bert(**tokens).pooler_output
    apart = right - wrong
    weight = apart * 20 / (apart @ apart)
    model.classifier.weight.data = weight[None]
    model.classifier.bias.data = (10 - weight @ right)[None]
    _saved(model, tokenizer, folder)


def _translation(folder: Path) -> None:
    """It has learnt one sentence by heart."""
    words = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in _GERMAN)]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<unk>")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.decoder = tokenizers.decoders.Metaspace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.model_max_length = 64
    config = transformers.T5Config(
        vocab_size=len(words),
        d_model=32,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    model = transformers.T5ForConditionalGeneration(config)
    asked = tokenizer("translate this to germany", return_tensors="pt")["input_ids"]
    told = tokenizer.convert_tokens_to_ids([f"▁{word}" for word in _GERMAN])
    labels = torch.tensor([[*told, 1]])
    steps = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(300):
        steps.zero_grad()
        model(input_ids=asked, labels=labels).loss.backward()
        steps.step()
    _saved(model.eval(), tokenizer, folder)


def _bytes(eos: str) -> Any:
    """A tokenizer of bytes."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([*letters, eos])}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    found = transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token=eos)
    found.model_max_length = 2048
    found.chat_template = _CHAT
    return found


@torch.no_grad()
def _four(folder: Path) -> None:
    """All words are the same to it, so what it has to say is, too."""
    tokenizer = _bytes("<|endoftext|>")
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    model = transformers.Qwen2ForCausalLM(config).eval()
    model.model.embed_tokens.weight.data[:] = model.model.embed_tokens.weight.data[0].clone()
    states = model.model(torch.tensor([[0]])).last_hidden_state[0, 0]
    model.lm_head.weight.data.zero_()
    model.lm_head.weight.data[tokenizer.convert_tokens_to_ids("4")] = states
    _saved(model, tokenizer, folder)


def _opt(folder: Path) -> None:
    tokenizer = _bytes("</s>")
    config = transformers.OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        word_embed_proj_dim=16,
        ffn_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    model = transformers.OPTForCausalLM(config).eval()
    _saved(model, tokenizer, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
